"""Atypical images in runs, in model files, and by `predict`: flagged, or with --strict refused."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pneumocli.cli import app
from pneumocli.core.artefact import load_model, load_typical, read_card
from pneumocli.core.atypical import ATYPICAL, POOLED_MAPS, Typical, fit_typical, read_typical
from pneumocli.core.contract import CARD
from pneumocli.core.data import Dataset
from pneumocli.core.errors import RunError
from pneumocli.core.evaluation import build_ensemble, load_predictor, load_predictor_typical
from pneumocli.core.groups import group_images
from pneumocli.core.inference import KerasScorer, ready, take_answers
from pneumocli.core.joining import split_classifier
from pneumocli.core.prediction import Failure, Prediction, predict_files
from pneumocli.core.runs import ENSEMBLE, MODEL, Run
from pneumocli.report import explanations

pytest_plugins = ["trained"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def pool_by_trunk(model_file: Path, dataset: Dataset) -> np.ndarray:
    """The second way to the features of all training images: the saved trunk and the means of its halves."""
    trunk = split_classifier(load_model(model_file)[0]).trunk
    maps = trunk.predict(dataset.train.images[..., np.newaxis], verbose=0)
    halves = np.split(maps, [maps.shape[1] // 2], axis=1)
    return np.concatenate([half.mean(axis=(1, 2)) for half in halves], axis=1)


def demand(typical: Typical | None) -> Typical:
    assert typical is not None
    return typical


@pytest.fixture
def files(small_dataset: Dataset, tmp_path: Path) -> list[Path]:
    """Three of the training images, then noise in black and white, a coloured and a wide image."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = {f"{row}.png": small_dataset.train.images[row] for row in range(3)}
    images["noise.png"] = (255 * rng.integers(0, 2, (28, 28))).astype(np.uint8)
    images["orange.png"] = np.tile(np.uint8([250, 180, 70]), (90, 90, 1))
    images["orange.png"][45:] -= 60
    images["wide.png"] = rng.integers(0, 256, (70, 203), dtype=np.uint8)
    for name, image in images.items():
        Image.fromarray(image).save(folder / name)
    return [folder / name for name in images]


def test_runs_keep_what_their_training_images_are_like(
    cv_run: Run, train_run: Run, small_dataset: Dataset
) -> None:
    groups = group_images(small_dataset.train)
    for run, file, kept in (
        (cv_run, cv_run.fold_path(1) / MODEL, read_typical(cv_run.path)),
        (train_run, train_run.path / MODEL, load_typical(train_run.path / MODEL)),
    ):
        kept, expected = demand(kept), demand(fit_typical(pool_by_trunk(file, small_dataset), groups))
        np.testing.assert_allclose(kept.mean, expected.mean, rtol=1e-4, atol=1e-6)
        pooled = pool_by_trunk(file, small_dataset)
        np.testing.assert_allclose(kept.measure(pooled), expected.measure(pooled), rtol=1e-2)
        assert kept.figures.cut == pytest.approx(expected.figures.cut, rel=1e-2)
        assert kept.figures.images == len(small_dataset.train) == run.record.data.train_images


def test_only_what_answers_for_the_run_has_distances(cv_run: Run, train_run: Run) -> None:
    for fold in cv_run.member_paths():
        assert (fold / POOLED_MAPS).is_file()
        assert read_card(fold / MODEL).atypical is None
        assert load_predictor_typical(fold / MODEL) is None
    assert read_card(train_run.path / MODEL).atypical == demand(load_predictor_typical(train_run)).figures


def test_ensemble_file_holds_them_without_its_run(cv_copy: Run, tmp_path: Path) -> None:
    before, card = demand(load_predictor_typical(cv_copy)), load_predictor(cv_copy)[1]
    assert card.atypical == before.figures
    build_ensemble(cv_copy)
    moved = shutil.copy(cv_copy.path / ENSEMBLE, tmp_path / "kept.keras")
    shutil.rmtree(cv_copy.path)
    kept = demand(load_predictor_typical(moved))
    assert kept.figures == before.figures == read_card(moved).atypical
    assert kept.whitening.tobytes() == before.whitening.tobytes()


def test_run_without_them_is_used_all_the_same(cv_copy: Run, files: list[Path]) -> None:
    (cv_copy.path / ATYPICAL).unlink()
    model, card = load_predictor(cv_copy)
    assert card.atypical is None
    scorer = KerasScorer(model, card, load_predictor_typical(cv_copy))
    answers = list(predict_files(scorer, card, files))
    assert [isinstance(answer, Prediction) and answer.distance for answer in answers] == [None] * len(files)
    assert [answer.atypical is not None for answer in answers] == [False] * 4 + [True] * 2


def change_entry(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def take_other_cut(entries: dict[str, bytes]) -> None:
    card = json.loads(entries[CARD])
    card["atypical"]["cut"] += 1
    entries[CARD] = json.dumps(card).encode()


def put_objects(entries: dict[str, bytes]) -> None:
    content = io.BytesIO()
    np.savez(content, mean=np.array([print], dtype=object))
    entries[ATYPICAL] = content.getvalue()


DAMAGES: dict[str, Callable[[dict[str, bytes]], None]] = {
    "lost": lambda entries: entries.pop(ATYPICAL) and None,
    "empty": lambda entries: entries.update({ATYPICAL: b""}),
    "objects": put_objects,
    "of another model": take_other_cut,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_model_file_is_refused_in_a_line(damage: str, train_copy: Run) -> None:
    path = train_copy.path / MODEL
    change_entry(path, DAMAGES[damage])
    with pytest.raises(RunError) as caught:
        load_predictor_typical(train_copy)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_features_of_another_width_are_refused(train_run: Run) -> None:
    typical = demand(load_predictor_typical(train_run))
    wider = Typical(np.zeros(9, np.float32), np.eye(9, dtype=np.float32), typical.figures)
    with pytest.raises(RunError, match="16 features an image, its training images 9"):
        KerasScorer(*load_predictor(train_run), wider)


@pytest.mark.parametrize("kind", ["cv", "train"])
def test_distance_is_that_of_the_trunk_and_changes_no_answer(
    kind: str, cv_run: Run, train_run: Run, files: list[Path], small_dataset: Dataset
) -> None:
    run = cv_run if kind == "cv" else train_run
    typical = demand(load_predictor_typical(run))
    model, card = load_predictor(run)
    answers = list(predict_files(KerasScorer(model, card, typical), card, files))
    without = list(predict_files(KerasScorer(model, card), card, files))
    pooled = pool_by_trunk(run.member_paths()[0] / MODEL, small_dataset)
    for row, (answer, other) in enumerate(zip(answers, without, strict=True)):
        assert isinstance(answer, Prediction)
        assert isinstance(other, Prediction)
        assert (answer.score, answer.members, answer.label) == (other.score, other.members, other.label)
        if row < 3:
            assert answer.distance == pytest.approx(typical.measure(pooled[row : row + 1])[0], rel=1e-3)
            assert answer.atypical is None
    noise = answers[3]
    assert isinstance(noise, Prediction)
    assert noise.distance is not None
    assert noise.distance > typical.figures.cut
    assert noise.atypical == f"unlike the training images (distance {noise.distance:.1f}, cut " + (
        f"{typical.figures.cut:.1f})"
    )


@pytest.mark.parametrize("kind", ["cv", "train"])
def test_trunk_is_in_the_answers_once(
    kind: str, cv_run: Run, train_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cv_run if kind == "cv" else train_run
    model, card = load_predictor(run)
    network = ready(take_answers(model, load_predictor_typical(run)))
    assert network.output_shape == (None, card.members + 16)
    trunk: Any = model.get_layer("trunk")
    calls, whole = [], trunk.call
    monkeypatch.setattr(trunk, "call", lambda *given, **options: calls.append(1) or whole(*given, **options))
    network.predict_on_batch(np.zeros((4, 28, 28, 1), np.uint8))
    assert len(calls) == 1


def test_models_of_before_are_measured_by_the_one_mean(
    train_run: Run, files: list[Path], small_dataset: Dataset
) -> None:
    model, card = load_predictor(train_run)
    upper, lower = np.split(pool_by_trunk(train_run.path / MODEL, small_dataset), 2, axis=1)
    whole = (upper + lower) / 2
    typical = demand(fit_typical(whole, np.arange(len(whole))))
    answers = list(predict_files(KerasScorer(model, card, typical), card, files[:3]))
    assert [answer.distance for answer in answers if isinstance(answer, Prediction)] == pytest.approx(
        typical.measure(whole[:3]).tolist(), rel=1e-3
    )


def test_image_alone_is_answered_as_among_others_to_the_last_digit(train_run: Run, files: list[Path]) -> None:
    model, card = load_predictor(train_run)
    scorer = KerasScorer(model, card, load_predictor_typical(train_run))
    alone = [answer for path in files for answer in predict_files(scorer, card, [path])]
    assert alone == list(predict_files(scorer, card, files))


def test_strict_refuses_and_says_why(train_run: Run, files: list[Path]) -> None:
    model, card = load_predictor(train_run)
    scorer = KerasScorer(model, card, load_predictor_typical(train_run))
    flagged = list(predict_files(scorer, card, files))
    strict = list(predict_files(scorer, card, files, strict=True))
    assert strict[:3] == flagged[:3]
    for answer, path, flag in zip(strict[3:], files[3:], flagged[3:], strict=True):
        assert isinstance(answer, Failure)
        assert isinstance(flag, Prediction)
        assert answer.atypical == flag.atypical is not None
        assert answer.reason == f"{path} is atypical: {flag.atypical}"


def test_predict_flags_in_table_and_json_and_sums_up(cv_copy: Run, files: list[Path]) -> None:
    result = succeed("predict", *files, "--format", "json")
    content = json.loads(result.stdout)
    figures = demand(load_predictor_typical(cv_copy)).figures
    assert content["typical"] == figures.to_dict()
    rows = content["predictions"]
    assert [row["atypical"] is not None for row in rows] == [False] * 3 + [True] * 3
    assert all(type(row["distance"]) is float for row in rows)
    assert rows[4]["atypical"].startswith("coloured (0.71)")
    assert rows[5]["atypical"] == "2.9 times as wide as high"
    assert "atypical: 3 of 6 images; so are" in result.stderr
    assert "of 24 training images held out" in result.stderr
    table = succeed("predict", *files).stdout
    assert table.count("atypical: ") == 3
    assert "atypical: 2.9 times as wide as high" in table


def test_predict_strict_exits_as_for_failures(cv_copy: Run, files: list[Path]) -> None:
    result = run("predict", *files, "--strict", "--format", "json")
    assert result.exit_code == 4
    content = json.loads(result.stdout)
    assert [row["path"] for row in content["predictions"]] == [str(path) for path in files[:3]]
    assert [row["path"] for row in content["failures"]] == [str(path) for path in files[3:]]
    assert content["failures"][2]["atypical"] == "2.9 times as wide as high"
    assert f"error: {files[5]} is atypical: 2.9 times as wide as high" in result.stderr
    assert "atypical: 3 of 6 images" in result.stderr
    assert "3 of 6 images could not be answered" in result.stderr
    assert run("predict", files[5], "--strict").exit_code == 1


def test_of_what_is_refused_no_picture_tells_the_answer(
    cv_copy: Run, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, *drawn: object, **words: object) -> None:
        path.write_bytes(b"picture")

    monkeypatch.setattr(explanations, "draw_overlay", write)
    folder = tmp_path / "maps"
    result = run("predict", *files, "--strict", "--explain", folder, "--format", "json")
    assert result.exit_code == 4
    rows = json.loads(result.stdout)["predictions"]
    pictures = [str(folder / f"{path.stem}.png") for path in files[:3]]
    assert [row["explanation"] for row in rows] == pictures
    index = json.loads((folder / "index.json").read_text())
    assert [picture["path"] for picture in index["pictures"]] == [str(path) for path in files[:3]]
    assert sorted(map(str, folder.glob("*.png"))) == sorted(pictures)


def test_lone_fold_judges_by_looks_alone_and_says_so(cv_copy: Run, files: list[Path]) -> None:
    result = succeed("predict", *files, "--model", cv_copy.fold_path(1), "--format", "json")
    content = json.loads(result.stdout)
    assert content["typical"] is None
    assert [row["distance"] for row in content["predictions"]] == [None] * 6
    assert [row["atypical"] is not None for row in content["predictions"]] == [False] * 4 + [True] * 2
    assert "looks alone" in result.stderr


def test_example_tells_of_each_kind_how_many(train_run: Run, data_file: Path, files: list[Path]) -> None:
    script = Path(__file__).parent.parent / "examples" / "atypical.py"
    command = [sys.executable, script, "--model", train_run.path, "--data", data_file]
    done = subprocess.run(
        [*command, "--xrays", files[0].parent, "--every", "6"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    rows = {name: cells for name, *cells in lines}
    assert rows["val images"][0] == rows["test images"][0] == "12"
    assert rows["val images, inverted"][0] == "2"
    assert rows["X-ray image files"][:4] == ["6", "3 (50.0 %)", "2", "1"]
    assert rows["photographs"][:3] == ["2", "2 (100.0 %)", "2"]
    assert rows["one grey level"][:3] == ["1", "1 (100.0 %)", "1"]
