"""Which scored images a run was made with: counted a second way, told wherever the figures are."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from written import write_run, write_scored

from pneumocli.core.data import SEEN_NAMES, Dataset, Split
from pneumocli.core.errors import RunError
from pneumocli.core.figures import Figures, read_figures
from pneumocli.core.runs import Run
from pneumocli.core.seen import SEEN, count_seen, write_seen
from pneumocli.core.summary import summarize_run
from pneumocli.core.synthetic import draw_dataset
from pneumocli.report.caveats import list_limits
from pneumocli.report.figures import tabulate_figures
from pneumocli.report.words import describe_seen


@pytest.fixture
def dataset() -> Dataset:
    return replace(draw_dataset(train=30, val=20, test=10, seed=3), synthetic=False)


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Run:
    run = write_run(tmp_path, digest=dataset.digest(SEEN_NAMES))
    write_seen(run.path, dataset)
    return run


def plant(dataset: Dataset, name: str, images: np.ndarray) -> Dataset:
    """Put images in the place of the last ones of a split."""
    split = dataset.splits[name]
    kept = split.images[: len(split) - len(images)]
    return replace(
        dataset,
        splits={**dataset.splits, name: Split(np.concatenate([kept, images]), split.labels)},
    )


def count_again(dataset: Dataset, split: str, *others: str) -> int:
    known = {image.tobytes() for name in others for image in dataset.splits[name].images}
    return sum(image.tobytes() in known for image in dataset.splits[split].images)


def test_images_of_train_and_val_are_known(run: Run, dataset: Dataset) -> None:
    assert count_seen(run, dataset.test) == 0
    mixed = np.concatenate([dataset.train.images[:3], dataset.val.images[:2], dataset.train.images[:1]])
    other = plant(dataset, "test", mixed)
    assert run.owns(other)
    assert count_seen(run, other.test) == count_again(other, "test", "train", "val") == 6
    assert count_seen(run, dataset.pick("all")) == len(dataset.train) + len(dataset.val)


def test_one_changed_pixel_makes_another_image(run: Run, dataset: Dataset) -> None:
    images = dataset.train.images[:4].copy()
    images[:2, 0, 0] ^= 1
    assert count_seen(run, plant(dataset, "test", images).test) == 2


def test_a_run_of_an_earlier_version_does_not_know(run: Run, dataset: Dataset) -> None:
    (run.path / SEEN).unlink()
    assert count_seen(run, dataset.test) is None


@pytest.mark.parametrize("content", [b"", b"hello", "other arrays"])
def test_a_damaged_file_is_told(content: bytes | str, run: Run, dataset: Dataset) -> None:
    path = run.path / SEEN
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, train=np.arange(3), val=np.arange(3))
    with pytest.raises(RunError, match="the run folder is damaged") as caught:
        count_seen(run, dataset.test)
    assert str(path) in str(caught.value)


def see(run: Run, seen: int | None) -> Figures:
    return read_figures(run.path, "test").model_copy(update={"seen": seen})


@pytest.mark.parametrize(
    ("seen", "words"),
    [(None, None), (0, None), (1, "1 of these 60 images stands"), (7, "7 of these 60 images stand")],
)
def test_it_is_told_below_the_table_and_among_the_limits(
    seen: int | None, words: str | None, run: Run
) -> None:
    write_scored(run)
    figures = see(run, seen)
    told = describe_seen(figures)
    summary = summarize_run(run)
    assert summary.best is not None
    limits = list_limits(replace(summary, scored={"test": replace(summary.best, figures=figures)}))
    external = replace(summary.best, figures=figures.model_copy(update={"data": "hospital.csv"}))
    elsewhere = [limit for limit in list_limits(replace(summary, external=(external,))) if "byte" in limit]
    text = io.StringIO()
    Console(file=text, width=80).print(tabulate_figures(figures)[0])
    if words is None:
        assert told is None
        assert "byte" not in text.getvalue() + " ".join(limits)
        assert elsewhere == []
        return
    assert told is not None and told.startswith(words)
    assert told in " ".join(text.getvalue().split())
    assert f"pneumoniamnist.npz, test images: {told}." in limits
    assert elsewhere == [f"hospital.csv, test images: {told}."]
