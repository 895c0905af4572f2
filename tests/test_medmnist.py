"""Standard result files, read back by a reader that is written from the format's definition alone."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.medmnist import compute_accuracy, list_results, name_result, write_result
from pneumocli.core.metrics import compute_metrics

# {flag}{size_flag}_{split}_[AUC]{auc:.3f}_[ACC]{acc:.3f}@{run}.csv, size_flag empty for 28 px, else _{size}
FORM = re.compile(
    r"(?P<flag>[a-z]+)(_(?P<size>64|128|224))?_(?P<split>train|val|test)"
    r"_\[AUC\](?P<auc>[01]\.[0-9]{3})_\[ACC\](?P<acc>[01]\.[0-9]{3})@(?P<run>[^@.]+)\.csv"
)


def read_standard(path: Path) -> tuple[dict[str, str | None], NDArray[np.float64]]:
    """Return what the name says, and the scores by their rows, as MedMNIST's reader takes them."""
    flag, part, *rest = path.name.split("_")
    if not part.startswith(("train", "val", "test")):
        assert rest[0].startswith(("train", "val", "test"))
    found = FORM.fullmatch(path.name)
    assert found
    assert found["flag"] == flag == "pneumoniamnist"
    assert found["run"] == path.name.split("@")[-1].split(".")[0]
    with path.open(encoding="ascii", newline="") as file:
        lines = list(csv.reader(file))
    assert {len(line) for line in lines} == {2}
    rows = [int(row) for row, _ in lines]
    assert sorted(rows) == list(range(len(lines)))
    scores = np.empty(len(lines))
    scores[rows] = [float(score) for _, score in lines]
    return found.groupdict(), scores


def count_auc(y_true: NDArray[np.int64], y_score: NDArray[np.float64]) -> float:
    """The share of pairs in which pneumonia has the higher score; an equal score counts half."""
    above = y_score[y_true == 1][:, None] - y_score[y_true == 0]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def draw_scores(seed: int, n: int = 300) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    y_true = (rng.random(n) < 0.6).astype(np.int64)
    return y_true, (1 / (1 + np.exp(-(3 * y_true + rng.normal(0, 3, n) - 1)))).astype(np.float32)


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("pixels", [28, 64, 128, 224])
def test_definition_reads_back_name_and_scores(split: str, pixels: int, tmp_path: Path) -> None:
    y_true, y_score = draw_scores(pixels)
    path = write_result(tmp_path, "cv-1", pixels, split, y_true, y_score)
    assert path.parent == tmp_path
    name, scores = read_standard(path)
    assert (name["size"], name["split"], name["run"]) == (
        None if pixels == 28 else str(pixels),
        split,
        "cv-1",
    )
    np.testing.assert_array_equal(scores.astype(np.float32), y_score)
    auc, accuracy = count_auc(y_true, scores), float(((scores > 0.5) == y_true).mean())
    assert (name["auc"], name["acc"]) == (f"{auc:.3f}", f"{accuracy:.3f}")


def test_name_of_the_definitions_example() -> None:
    assert name_result("3", 28, "test", 0.98960, 0.94551) == "pneumoniamnist_test_[AUC]0.990_[ACC]0.946@3.csv"
    assert name_result("3", 64, "val", 1, 1) == "pneumoniamnist_64_val_[AUC]1.000_[ACC]1.000@3.csv"


def test_file_of_a_few_scores(tmp_path: Path) -> None:
    y_score = np.float32([0.25, 1e-7, 0.3, 1, 0])
    path = write_result(tmp_path, "a", 28, "test", np.array([0, 0, 1, 1, 0]), y_score)
    assert path.read_bytes() == b"0,0.25\n1,1e-07\n2,0.3\n3,1.0\n4,0.0\n"


@pytest.mark.parametrize("seed", range(3))
def test_figures_from_the_file_are_those_of_the_scores_to_all_digits(seed: int, tmp_path: Path) -> None:
    """Neighbouring numbers, equal ones, and all those that a float32 has just above and below 0.5."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-6, 7, 400)
    near = np.array([0.5, 0.9999999, 1e-30], dtype=np.float32)[rng.integers(0, 3, 400)]
    y_score = (near.view(np.int32) + steps.astype(np.int32)).view(np.float32).clip(0, 1)
    y_true = rng.integers(0, 2, 400)
    path = write_result(tmp_path, "near", 28, "test", y_true, y_score)
    _, read = read_standard(path)
    assert len(np.unique(read)) == len(np.unique(y_score))
    assert count_auc(y_true, read) == count_auc(y_true, y_score.astype(np.float64))
    assert ((read > 0.5) == (y_score > 0.5)).all()
    assert compute_accuracy(y_true, y_score) == float(((read > 0.5) == y_true).mean())


def test_score_of_exactly_one_half_is_normal_here_and_pneumonia_elsewhere(tmp_path: Path) -> None:
    y_true = np.array([0, 0, 1, 1])
    y_score = np.float32([0.1, 0.5, 0.9, 0.8])
    assert compute_accuracy(y_true, y_score) == 1
    assert compute_metrics(y_true, y_score).accuracy == 0.75
    assert "[ACC]1.000" in write_result(tmp_path, "a", 28, "val", y_true, y_score).name
    assert compute_accuracy(1 - y_true, 1 - y_score) == 0.75


def test_newer_file_replaces_the_older_of_its_split_alone(tmp_path: Path) -> None:
    y_true, y_score = draw_scores(0)
    first = write_result(tmp_path, "a", 28, "test", y_true, y_score)
    val = write_result(tmp_path, "a", 28, "val", y_true, y_score)
    kept = [
        tmp_path / name for name in ("mine.csv", "pneumoniamnist_test.csv", f"old_{first.name}", "scores.npz")
    ]
    for path in kept:
        path.touch()
    second = write_result(tmp_path, "renamed", 28, "test", y_true, 1 - y_score)
    assert second.name != first.name
    assert sorted(tmp_path.iterdir()) == sorted([val, second, *kept])
    assert write_result(tmp_path, "renamed", 28, "test", y_true, 1 - y_score) == second
    assert list_results(tmp_path, "test") == [second]
    assert list_results(tmp_path, "val") == [val]
    assert list_results(tmp_path, "train") == []


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("cv-1", "cv-1"),
        ("a@b", "a-b"),
        ("cv.2", "cv-2"),
        ("[AUC]1.000", "-AUC-1-000"),
        ("two words", "two-words"),
        ("über_1", "über_1"),
        ("*?'\"\n", "-----"),
        ("x" * 250, "x" * 180),
        ("ü" * 120, "ü" * 90),
    ],
)
def test_name_that_the_format_cannot_take(run: str, name: str, tmp_path: Path) -> None:
    y_true, y_score = draw_scores(1)
    for _ in range(2):
        path = write_result(tmp_path, run, 224, "test", y_true, y_score)
        assert read_standard(path)[0]["run"] == name
        assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_lost_when_writing_fails(tmp_path: Path) -> None:
    y_true, y_score = draw_scores(1)
    path = write_result(tmp_path, "a", 28, "test", y_true, y_score)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        write_result(tmp_path, "a", 28, "test", y_true, y_score[:-1])
    assert list(tmp_path.iterdir()) == [path]
