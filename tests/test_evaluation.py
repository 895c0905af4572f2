"""A run on a split: members, ensemble, best single model, and the artefact that stands alone."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small import FOLDS, copy_run

from pneumocli.core.artefact import load_model, read_card, save_model
from pneumocli.core.calibration import measure_calibration
from pneumocli.core.data import NORMAL, PNEUMONIA, SPLIT_NAMES, Dataset
from pneumocli.core.decision import fix_decision, read_decision
from pneumocli.core.errors import DataError, RunError, SettingError
from pneumocli.core.evaluation import (
    Evaluation,
    build_ensemble,
    evaluate_run,
    load_predictor,
    load_run_model,
)
from pneumocli.core.figures import ENSEMBLE_NAME, name_fold, read_figures, write_figures
from pneumocli.core.finding import find_predictor
from pneumocli.core.hashes import record_hash
from pneumocli.core.identity import KNOWN_DIGESTS, digest_images
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.joining import split_classifier
from pneumocli.core.metrics import compute_metrics
from pneumocli.core.records import stamp_time
from pneumocli.core.runs import CONFIG, DECISION, ENSEMBLE, MODEL, Run, open_run
from pneumocli.core.scores import OUT_OF_FOLD, STOPPING, read_scores
from pneumocli.core.synthetic import draw_dataset

pytest_plugins = ["trained"]

Evaluated = tuple[Run, Evaluation]


@pytest.fixture(scope="module")
def joined(cv_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the cross-validation with its model file."""
    run = copy_run(cv_run, tmp_path_factory.mktemp("joined"))
    build_ensemble(run)
    return run


def list_test_scores(run: Run) -> list[NDArray[np.float32]]:
    return [read_scores(folder, "test").y_score for folder in run.member_paths()]


def test_ensemble_is_the_mean_of_its_members_probabilities(evaluated: Evaluated) -> None:
    run, _ = evaluated
    members = np.stack(list_test_scores(run)).astype(np.float64)
    assert len(members) == FOLDS
    assert np.ptp(members, axis=0).max() > 0
    ensemble = read_scores(run.path, "test").y_score
    np.testing.assert_array_equal(ensemble, (members.sum(axis=0) / FOLDS).astype(np.float32))


def test_members_scores_are_those_of_their_own_files(evaluated: Evaluated, small_dataset: Dataset) -> None:
    run, _ = evaluated
    for folder, stored in zip(run.member_paths(), list_test_scores(run), strict=True):
        model, _ = load_model(folder / MODEL)
        scores = compute_member_scores(model, small_dataset.test.images)[0]
        np.testing.assert_allclose(scores, stored, rtol=0, atol=1e-6)


def test_stored_scores_and_figures_are_what_is_returned(evaluated: Evaluated, small_dataset: Dataset) -> None:
    run, evaluation = evaluated
    assert read_figures(run.path, "test") == evaluation.figures
    names = [name_fold(fold) for fold in range(1, FOLDS + 1)]
    assert list(evaluation.figures.models) == list(evaluation.y_score) == [*names, ENSEMBLE_NAME]
    assert evaluation.main == ENSEMBLE_NAME
    assert evaluation.figures.data_digest == small_dataset.test.digest()
    assert evaluation.figures.synthetic
    for folder, name in zip([*run.member_paths(), run.path], evaluation.y_score, strict=True):
        stored = read_scores(folder, "test")
        np.testing.assert_array_equal(stored.index, np.arange(len(small_dataset.test)))
        np.testing.assert_array_equal(stored.y_true, small_dataset.test.labels)
        np.testing.assert_array_equal(stored.y_score, evaluation.y_score[name])
        expected = compute_metrics(small_dataset.test.labels, stored.y_score)
        assert evaluation.figures.models[name] == expected
        decision = read_decision(run)
        at_rule = compute_metrics(small_dataset.test.labels, stored.y_score, decision.threshold)
        assert evaluation.figures.at_rule is not None
        assert evaluation.figures.at_rule[name] == at_rule
        assert evaluation.figures.decision == evaluation.decision == decision
    assert evaluation.figures.calibration == measure_calibration(
        small_dataset.test.labels, evaluation.y_score[ENSEMBLE_NAME], evaluation.decision.temperature
    )


@pytest.mark.parametrize("kind", ["cv", "train"])
def test_another_rule_scores_once_and_changes_no_decision(
    kind: str, small_dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(f"{kind}_copy")
    before = (run.path / DECISION).read_bytes()
    own = read_decision(run)
    source = read_scores(run.path, OUT_OF_FOLD if kind == "cv" else STOPPING)
    evaluation = evaluate_run(run, small_dataset, "test", rule="specificity:0.8")
    expected = fix_decision("specificity:0.8", source, own.source, own.data)
    assert evaluation.decision == read_figures(run.path, "test").decision == expected
    at_rule = evaluation.figures.at_rule
    assert at_rule is not None
    assert at_rule[evaluation.main] == compute_metrics(
        small_dataset.test.labels, evaluation.y_score[evaluation.main], expected.threshold
    )
    assert (run.path / DECISION).read_bytes() == before
    assert evaluate_run(run, small_dataset, "test").decision == own


def test_no_such_rule_leaves_nothing(cv_copy: Run, small_dataset: Dataset) -> None:
    with pytest.raises(SettingError, match="'best'"):
        evaluate_run(cv_copy, small_dataset, "test", rule="best")
    assert not list(cv_copy.path.rglob("*test*"))


def test_other_validation_images_do_not_move_the_decision(train_copy: Run) -> None:
    own = read_decision(train_copy)
    other = draw_dataset(seed=5, train=6, val=10, test=6)
    evaluation = evaluate_run(train_copy, other, "val")
    assert not evaluation.figures.fixed_here
    assert evaluation.decision == own
    # Its scores on val are now those of other images; another rule is still fixed on its own.
    again = evaluate_run(train_copy, other, "val", rule="youden")
    assert again.decision == own


def test_decision_of_a_single_model_is_of_its_validation_images(
    train_copy: Run, small_dataset: Dataset
) -> None:
    assert evaluate_run(train_copy, small_dataset, "val").figures.fixed_here
    assert not evaluate_run(train_copy, small_dataset, "test").figures.fixed_here


def test_drift_from_members_to_ensemble_is_told_on_val(cv_copy: Run, small_dataset: Dataset) -> None:
    figures = evaluate_run(cv_copy, small_dataset, "val").figures
    assert figures.at_rule is not None
    assert figures.folds_at_rule is not None
    folds = [figures.at_rule[name_fold(fold)] for fold in range(1, FOLDS + 1)]
    for name in ("sensitivity", "specificity"):
        mean = sum(getattr(fold, name) for fold in folds) / FOLDS
        assert figures.folds_at_rule[name]["mean"] == pytest.approx(mean)


def test_best_single_model_is_not_chosen_by_the_test_images(
    cv_copy: Run, evaluated: Evaluated, small_dataset: Dataset
) -> None:
    on_test = evaluated[1].figures.models
    folds = [name_fold(fold) for fold in range(1, FOLDS + 1)]
    worst = min(folds, key=lambda name: on_test[name].roc_auc)
    assert on_test[worst].roc_auc < max(on_test[name].roc_auc for name in folds)
    stored = read_figures(cv_copy.path, OUT_OF_FOLD)
    write_figures(cv_copy.path, stored.model_copy(update={"best_single": worst}))
    assert evaluate_run(cv_copy, small_dataset, "test").figures.best_single == worst


def test_evaluating_changes_nothing_that_training_left(
    cv_run: Run, cv_copy: Run, small_dataset: Dataset
) -> None:
    evaluate_run(cv_copy, small_dataset, "val")
    for path in cv_run.path.rglob("*.*"):
        assert (cv_copy.path / path.relative_to(cv_run.path)).read_bytes() == path.read_bytes()
    assert not list(cv_copy.path.rglob("*test*"))
    assert (cv_copy.path / "metrics_val.json").is_file()


def test_single_model(train_copy: Run, small_dataset: Dataset) -> None:
    evaluation = evaluate_run(train_copy, small_dataset, "test")
    assert list(evaluation.y_score) == [train_copy.name] == [evaluation.main]
    assert evaluation.figures.best_single is None
    np.testing.assert_array_equal(
        read_scores(train_copy.path, "test").y_score, evaluation.y_score[train_copy.name]
    )


def test_validation_scores_are_those_of_training(train_copy: Run, small_dataset: Dataset) -> None:
    before = read_scores(train_copy.path, "val").y_score
    evaluate_run(train_copy, small_dataset, "val")
    after = read_scores(train_copy.path, "val").y_score
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


def stand_for_official(monkeypatch: pytest.MonkeyPatch, run: Run, dataset: Dataset) -> tuple[Run, Dataset]:
    """Return run and data as if neither was drawn, and the data's images those of the official file."""
    for name, split in dataset.splits.items():
        for label in (NORMAL, PNEUMONIA):
            digest = digest_images(split.images[split.labels == label])
            monkeypatch.setitem(KNOWN_DIGESTS, (name, label), digest)
    record = run.record.model_copy(update={"data": run.record.data.model_copy(update={"synthetic": False})})
    return Run(run.path, record), replace(dataset, name="small.npz", synthetic=False)


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("kind", ["cv", "train"])
def test_standard_result_file_has_the_scores_of_what_the_run_stands_for(
    kind: str,
    split: str,
    request: pytest.FixtureRequest,
    small_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn_run: Run = request.getfixturevalue(f"{kind}_copy")
    run, dataset = stand_for_official(monkeypatch, drawn_run, small_dataset)
    evaluation = evaluate_run(run, dataset, split)
    (path,) = run.path.rglob("*.csv")
    metrics = evaluation.figures.models[evaluation.main]
    # No score is exactly 0.5 here, so that this ACC is the format's too.
    figures = f"[AUC]{metrics.roc_auc:.3f}_[ACC]{metrics.accuracy:.3f}"
    assert path == run.path / f"pneumoniamnist_{split}_{figures}@{run.name}.csv"
    read = np.loadtxt(path, delimiter=",", dtype=np.float32)
    np.testing.assert_array_equal(read[:, 0], np.arange(len(dataset.splits[split])))
    np.testing.assert_array_equal(read[:, 1], read_scores(run.path, split).y_score)


def test_standard_result_file_goes_when_other_images_are_scored(
    cv_copy: Run, small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = stand_for_official(monkeypatch, cv_copy, small_dataset)
    evaluate_run(run, dataset, "val")
    evaluate_run(run, dataset, "test")
    assert len(list(run.path.glob("*.csv"))) == 2
    noise = np.random.default_rng(0).integers(0, 256, dataset.test.images.shape, np.uint8)
    other = replace(dataset, splits={**dataset.splits, "test": replace(dataset.test, images=noise)})
    before = {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    with pytest.raises(RunError, match="test figures of other images"):
        evaluate_run(run, other, "test")
    assert {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before
    evaluate_run(run, other, "test", force=True)
    (left,) = run.path.glob("*.csv")
    assert left.name.startswith("pneumoniamnist_val_")


def test_drawn_images_leave_no_standard_result_file(
    cv_copy: Run, small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = stand_for_official(monkeypatch, cv_copy, small_dataset)
    evaluate_run(run, small_dataset, "test")
    evaluate_run(cv_copy, dataset, "test")
    assert not list(cv_copy.path.rglob("*.csv"))


def test_images_of_another_size_are_refused(cv_copy: Run) -> None:
    other = draw_dataset(train=4, val=4, test=4, pixels=32)
    with pytest.raises(DataError, match=r"28 px.*32 px"):
        evaluate_run(cv_copy, other, "test")
    assert not list(cv_copy.path.rglob("*test*"))


def test_lost_model_file(cv_copy: Run, small_dataset: Dataset) -> None:
    lost = cv_copy.fold_path(2) / MODEL
    lost.unlink()
    for use in (load_run_model, build_ensemble, lambda run: evaluate_run(run, small_dataset, "test")):
        with pytest.raises(RunError) as caught:
            use(cv_copy)
        assert str(lost) in str(caught.value)
    assert not (cv_copy.path / ENSEMBLE).exists()


def test_lost_figures(cv_copy: Run, small_dataset: Dataset) -> None:
    cv_copy.last_file.unlink()
    with pytest.raises(RunError, match=r"metrics_out_of_fold\.json"):
        evaluate_run(cv_copy, small_dataset, "test")


def test_members_of_different_networks_are_refused(cv_copy: Run) -> None:
    path = cv_copy.fold_path(2) / MODEL
    model, card = load_model(path)
    trunk = split_classifier(model).trunk
    trunk.set_weights([array + 0.5 for array in trunk.get_weights()])
    save_model(model, path, card)
    record_hash(path)
    with pytest.raises(RunError) as caught:
        load_run_model(cv_copy)
    assert str(cv_copy.path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_model_of_another_build_among_the_folds_is_refused(cv_copy: Run) -> None:
    build_ensemble(cv_copy)
    shutil.copy(cv_copy.path / ENSEMBLE, cv_copy.fold_path(2) / MODEL)
    record_hash(cv_copy.fold_path(2) / MODEL)
    with pytest.raises(RunError):
        load_run_model(cv_copy)


def test_card_of_the_ensemble(joined: Run) -> None:
    card = read_card(joined.path / ENSEMBLE)
    assert card.members == FOLDS
    assert card.name == f"{joined.name}, ensemble"
    assert card.data == joined.record.data
    assert card.weights == joined.record.weights
    assert (card.pixels, card.preparation) == (28, joined.record.preparation)
    decision = read_decision(joined)
    for name in ("rule", "threshold", "temperature", "source"):
        assert getattr(card, name) == getattr(decision, name)


def test_trunk_is_in_the_ensemble_once(joined: Run) -> None:
    members = [split_classifier(load_model(path / MODEL)[0]) for path in joined.member_paths()]
    own = sum(
        part.count_params()
        for parts in members
        for part in (parts.tail, parts.head, parts.probe)
        if part is not None
    )
    ensemble, _ = load_model(joined.path / ENSEMBLE)
    assert ensemble.count_params() == members[0].trunk.count_params() + own


def test_ensemble_file_moved_elsewhere_answers_as_its_run(
    joined: Run, evaluated: Evaluated, small_dataset: Dataset, tmp_path: Path
) -> None:
    moved = tmp_path / "kept.keras"
    shutil.copy(joined.path / ENSEMBLE, moved)
    model, card = load_predictor(find_predictor(tmp_path / "no runs", moved))
    assert card.members == FOLDS
    scores = compute_member_scores(model, small_dataset.test.images)
    assert scores.tobytes() == np.stack(list_test_scores(evaluated[0])).tobytes()


WITHOUT_PNEUMOCLI = """
import sys
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
images = np.load(sys.argv[2])
np.save(sys.argv[3], model.predict_on_batch(images[..., np.newaxis])["probability"])
assert not any(name.startswith("pneumocli") for name in sys.modules)
"""


def test_ensemble_file_needs_keras_alone(
    joined: Run, evaluated: Evaluated, small_dataset: Dataset, tmp_path: Path
) -> None:
    images, answers = tmp_path / "images.npy", tmp_path / "answers.npy"
    np.save(images, small_dataset.test.images)
    command = [sys.executable, "-c", WITHOUT_PNEUMOCLI]
    subprocess.run([*command, joined.path / ENSEMBLE, images, answers], check=True, cwd=tmp_path)
    probability = np.load(answers)
    assert probability.shape == (len(small_dataset.test), 1)
    expected = evaluated[1].y_score[ENSEMBLE_NAME]
    np.testing.assert_allclose(probability[:, 0], expected, rtol=0, atol=1e-6)


def test_predictor_is_the_newest_run_or_the_one_named(cv_copy: Run, train_run: Run) -> None:
    runs_dir = cv_copy.path.parent
    assert load_predictor(find_predictor(runs_dir))[1].name == f"{cv_copy.name}, ensemble"
    config = copy_run(train_run, runs_dir).path / CONFIG
    config.write_text(json.dumps({**json.loads(config.read_text()), "created": stamp_time()}))
    newer = open_run(config.parent)
    assert newer.record.created > cv_copy.record.created
    assert load_predictor(find_predictor(runs_dir))[1].name == newer.name
    for named in (cv_copy.path, Path(cv_copy.name)):
        assert load_predictor(find_predictor(runs_dir, named))[1].name == f"{cv_copy.name}, ensemble"
    for named in (cv_copy.fold_path(2), cv_copy.fold_path(2) / MODEL):
        assert load_predictor(find_predictor(runs_dir, named))[1].name == f"{cv_copy.name}, fold 2"


def test_predictor_takes_the_built_ensemble(joined: Run) -> None:
    _, card = load_predictor(find_predictor(joined.path.parent))
    assert card == read_card(joined.path / ENSEMBLE)


@pytest.mark.parametrize("named", [None, "missing", "missing.keras"])
def test_no_predictor(named: str | None, tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        load_predictor(find_predictor(tmp_path, None if named is None else tmp_path / named))
    assert len(str(caught.value).splitlines()) == 1
    assert str(tmp_path) in str(caught.value)


def test_drawn_training_images_mark_figures_of_other_images(cv_copy: Run, small_dataset: Dataset) -> None:
    other = replace(small_dataset, name="small.npz", synthetic=False)
    assert evaluate_run(cv_copy, other, "test").figures.synthetic
    content = json.loads((cv_copy.path / "metrics_test.json").read_text())
    assert (content["data"], content["synthetic"]) == ("small.npz", True)


def test_other_data_leave_the_runs_own_figures_alone(
    evaluated: Evaluated, small_dataset: Dataset, tmp_path: Path
) -> None:
    run = copy_run(evaluated[0], tmp_path)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    other = replace(draw_dataset(seed=1, train=8, val=8, test=8), name="other.npz", synthetic=False)
    evaluation = evaluate_run(run, other, "test")
    assert {path: path.read_bytes() for path in before} == before
    place = run.path / "external" / "other.npz"
    assert read_figures(place, "test") == evaluation.figures
    assert (evaluation.figures.data, evaluation.figures.models[ENSEMBLE_NAME].n) == ("other.npz", 8)
    folders = [place / f"fold_{fold}" for fold in range(1, FOLDS + 1)]
    for folder, name in zip([*folders, place], evaluation.y_score, strict=True):
        np.testing.assert_array_equal(read_scores(folder, "test").y_score, evaluation.y_score[name])
        np.testing.assert_array_equal(read_scores(folder, "test").y_true, other.test.labels)
    assert evaluate_run(run, small_dataset, "test").figures == evaluated[1].figures


def test_what_the_run_was_made_with_is_counted_among_the_scored(
    evaluated: Evaluated, train_copy: Run, small_dataset: Dataset
) -> None:
    assert evaluated[1].figures.seen == 0
    told: list[str] = []
    assert evaluate_run(train_copy, small_dataset, "val", notify=told.append).figures.seen is None
    elsewhere = Dataset("own", {"all": small_dataset.pick("all")})
    seen = len(small_dataset.train) + len(small_dataset.val)
    assert evaluate_run(train_copy, elsewhere, "all", notify=told.append).figures.seen == seen
    (line,) = told
    assert line.startswith(
        f"warning: {seen} of the {seen + len(small_dataset.test)} images to score stand among"
    )


def test_all_images_are_scored_as_each_split_is(train_copy: Run) -> None:
    other = draw_dataset(seed=1, train=8, val=8, test=8)
    whole = evaluate_run(train_copy, other, "all").y_score[train_copy.name]
    parts = [evaluate_run(train_copy, other, split).y_score[train_copy.name] for split in SPLIT_NAMES]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=0, atol=1e-6)
    alone = evaluate_run(train_copy, Dataset("alone", {"all": other.pick("all")}), "all")
    np.testing.assert_array_equal(alone.y_score[train_copy.name], whole)
    names = {path.name for path in (train_copy.path / "external" / "synthetic").iterdir()}
    assert {"scores_all.npz", "metrics_all.json"} <= names


def test_other_images_of_a_name_that_is_taken_are_refused(train_copy: Run) -> None:
    for split in ("test", "val", "test", "all"):
        evaluate_run(train_copy, draw_dataset(seed=1, train=8, val=8, test=8), split)
    place = train_copy.path / "external" / "synthetic"
    before = {path: path.read_bytes() for path in place.iterdir()}
    for split in ("test", "val", "all"):
        with pytest.raises(RunError, match="figures of other images") as caught:
            evaluate_run(train_copy, draw_dataset(seed=2, train=8, val=8, test=8), split)
        assert str(place) in str(caught.value)
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_damaged_figures_are_replaced(train_copy: Run, small_dataset: Dataset) -> None:
    evaluate_run(train_copy, small_dataset, "test")
    kept = train_copy.path / "metrics_test.json"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:40])
    evaluate_run(train_copy, small_dataset, "test")
    assert kept.read_bytes() == whole


def test_split_that_is_not_there(train_copy: Run, small_dataset: Dataset) -> None:
    lacking = Dataset("own", {"val": small_dataset.val})
    with pytest.raises(DataError, match="own has no test images"):
        evaluate_run(train_copy, lacking, "test")
    assert not (train_copy.path / "external").exists()
