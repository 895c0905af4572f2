"""The pictures of a run folder: those that its list names, or those of known names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pneumocli import DISCLAIMER
from pneumocli.core.reading import open_file, read_json

PICTURES = "pictures.json"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The pictures of a run that has no list of them: what is shown, as a title, for each split.
KNOWN_PICTURES = {
    "roc": "ROC curves",
    "precision_recall": "Precision against recall",
    "confusion": "Confusion matrix",
    "reliability": "Reliability of the probabilities",
    "histogram": "Scores of both classes",
    "gallery": "Images and their scores",
}
LEARNING_CURVES = "learning_curves.png"


@dataclass(frozen=True)
class Picture:
    """A PNG file in the run folder; `split` is None for one that belongs to no split."""

    path: Path
    title: str
    alt: str
    split: str | None


class Entry(BaseModel):
    """What the list says of one picture."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str = Field(description="its name, in the folder of the list")
    title: str
    split: str | None = Field(None, description='which images it is of; "train" for the learning curves')
    alt: str = Field("", description="one sentence that says what it shows, with figures")


class PictureList(BaseModel):
    """What `pictures.json` holds: the pictures that lie beside it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    pictures: list[Entry]
    disclaimer: str = DISCLAIMER


def list_pictures(folder: Path, splits: Sequence[str]) -> tuple[tuple[Picture, ...], bool]:
    """Return the pictures that a run lists, or those of known names, as far as they are there.

    Args:
        folder: of the run.
        splits: which were scored; pictures of known names are looked for in their order.

    Returns:
        The pictures, and False if there is a list that cannot be read.
    """
    is_readable = True
    try:
        listed = PictureList.model_validate(read_json(folder / PICTURES)).pictures
    except FileNotFoundError:
        listed = _name_pictures(splits)
    except (OSError, ValueError):
        listed, is_readable = _name_pictures(splits), False
    pictures = tuple(
        Picture(folder / entry.file, entry.title, entry.alt or entry.title, entry.split)
        for entry in listed
        if _is_picture(folder, entry.file)
    )
    return pictures, is_readable


def _name_pictures(splits: Sequence[str]) -> list[Entry]:
    of_splits = [
        Entry(
            file=f"{name}_{split}.png",
            title=title,
            split=split,
            alt=f"{title}, {split.replace('_', '-')} images; the figures stand in the tables",
        )
        for split in splits
        for name, title in KNOWN_PICTURES.items()
    ]
    curves = Entry(
        file=LEARNING_CURVES, title="Learning curves", alt="Loss and AUC, epoch by epoch, of each model"
    )
    return [*of_splits, curves]


def _is_picture(folder: Path, name: str) -> bool:
    """Return whether a name is that of a PNG file in the folder itself, and not of one elsewhere."""
    try:
        path = folder / name
        if path.resolve(strict=True).parent != folder.resolve():
            return False
        with open_file(path) as file:
            return file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE
    except (OSError, ValueError):  # a name with a null byte is a ValueError
        return False
