"""What a run keeps of how it came about: data, weights, settings, versions."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pneumocli import __version__
from pneumocli.core.config import Precision, TrainConfig

LIBRARIES = ("tensorflow", "jax", "keras", "numpy", "scipy", "scikit-learn", "pillow")

Kind = Literal["train", "cv"]


class DataRecord(BaseModel):
    """Which images a run was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str = Field(description="SHA-256 of the pixels and labels of train and val, whatever the file")
    identity: str = Field(description="which known data set train and val are of, by their images")
    synthetic: bool
    pixels: int = Field(ge=1, description="side of the images, in pixels")
    train_images: int
    stopping_images: int = Field(description="validation images without a near duplicate in train")
    conflicts: int | None = Field(
        None,
        description="distinct images of train and val that stand there with both labels, byte for byte; none "
        "in runs of earlier versions",
    )


class WeightsRecord(BaseModel):
    """Which pretrained weights a run began with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str | None = Field(description="of the file; none for random weights")


class FileRecord(BaseModel):
    """Which file was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str


class GroupsRecord(BaseModel):
    """Which training images stayed together in one fold: near duplicates, and what the user named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FileRecord | None = Field(description="of `--groups`; none if it was not given")
    column: bool = Field(False, description="whether the data named groups themselves, in a column `group`")
    digest: str = Field(description="SHA-256 of which images were together")
    groups: int = Field(description="groups of more than one image")
    images: int = Field(description="images in these groups")

    @property
    def named_in(self) -> str | None:
        """Where the user named groups, in words; None where near duplicates alone stayed together."""
        if self.file is not None:
            return self.file.name
        return "the column `group` of the data" if self.column else None


class RunRecord(BaseModel):
    """What `config.json` holds: all that says how a run came about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    kind: Kind
    created: str = Field(description="UTC, ISO 8601")
    folds: int | None = Field(description="number of folds of one repeat; none for a single model")
    settings: TrainConfig
    data: DataRecord
    groups: GroupsRecord | None = Field(None, description="none for a single model, which has no folds")
    weights: WeightsRecord
    precision: Precision = Field(description="of training, as it was chosen on the machine")
    preparation: int = Field(description="version of the way image files become pixels")
    versions: dict[str, str]

    @property
    def fold_numbers(self) -> range:
        """The folds of all repeats, counted from 1, a model each; none for a single model."""
        return range(1, (self.folds or 0) * self.settings.repeats + 1)

    def find_other_inputs(self, other: "RunRecord") -> str | None:
        """Return in words which input of another record is not this one's; None if all are the same.

        Inputs are known by their content: the names of files do not matter, nor do versions.
        """
        if (self.data.digest, self.data.pixels) != (other.data.digest, other.data.pixels):
            if self.data.name == other.data.name:
                counts = f"{self.data.train_images} training images then, {other.data.train_images} now"
                return f"other images of {self.data.name} than it has now ({counts})"
            return f"the images of {self.data.name}, not those of {other.data.name}"
        if self.weights.sha256 != other.weights.sha256:
            return f"the weights {self.weights.name}, not {other.weights.name}"
        if self.groups and other.groups and self.groups.digest != other.groups.digest:
            given = [record.named_in or "none are named" for record in (self.groups, other.groups)]
            return f"groups of images that other ones are now ({given[0]}; now {given[1]})"
        if self.preparation != other.preparation:
            return "another way of reading image files than this version of pneumocli has"
        return None

    def same_work(self, other: "RunRecord") -> bool:
        """Return whether both records describe the same work, so that one can go on with the other."""
        # What is said of the data follows from their digest, by the words of the version that said it.
        apart: Any = {"created": True, "data": {"identity", "conflicts"}}
        ours, theirs = (record.model_dump(exclude=apart) for record in (self, other))
        return ours == theirs


def describe_versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    found = {"pneumocli": __version__, "python": platform.python_version(), "system": platform.platform()}
    found["backend"] = os.environ.get("KERAS_BACKEND", "tensorflow")
    return found | find_versions(LIBRARIES)


def find_versions(libraries: Sequence[str]) -> dict[str, str]:
    """Return the versions of those libraries that are installed."""
    found: dict[str, str] = {}
    for library in libraries:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def stamp_time() -> str:
    """Return the present time, UTC, ISO 8601, to the microsecond: later runs sort behind."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
