"""Answers for image files: the order, the threshold, and bad files among good ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scans import write_dicom

from pneumocli.core.calibration import apply_temperature
from pneumocli.core.contract import ModelCard
from pneumocli.core.data import CLASS_NAMES, Dataset
from pneumocli.core.errors import RunError
from pneumocli.core.evaluation import Evaluation, load_predictor
from pneumocli.core.figures import ENSEMBLE_NAME
from pneumocli.core.finding import find_predictor
from pneumocli.core.images import Source
from pneumocli.core.inference import KerasScorer
from pneumocli.core.prediction import NAMED_FAILURES, Failure, Prediction, Tally, predict_files
from pneumocli.core.runs import Run
from pneumocli.core.scorer import Scorer

pytest_plugins = ["trained"]

Predictor = tuple[Scorer, ModelCard]


def open_keras(found: Run | Path) -> Predictor:
    model, card = load_predictor(found)
    return KerasScorer(model, card), card


def predict(
    predictor: Predictor, paths: Sequence[Path], **options: Any
) -> tuple[list[Prediction], list[Failure]]:
    answers = list(predict_files(*predictor, paths, **options))
    predictions = [answer for answer in answers if isinstance(answer, Prediction)]
    return predictions, [answer for answer in answers if isinstance(answer, Failure)]


@pytest.fixture(scope="module")
def ensemble(cv_run: Run) -> Predictor:
    return open_keras(find_predictor(cv_run.path.parent))


@pytest.fixture(scope="module")
def xrays(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The test split as PNG files."""
    folder = tmp_path_factory.mktemp("xrays")
    paths = [folder / f"{number}.png" for number in range(len(small_dataset.test))]
    for path, image in zip(paths, small_dataset.test.images, strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_files_get_the_scores_of_the_rows_they_were_made_from(
    ensemble: Predictor, xrays: list[Path], evaluated: tuple[Run, Evaluation]
) -> None:
    predictions, failures = predict(ensemble, xrays)
    assert not failures
    _, evaluation = evaluated
    score = np.float32([prediction.score for prediction in predictions])
    assert score.tobytes() == evaluation.y_score[ENSEMBLE_NAME].tobytes()
    temperature = evaluation.decision.temperature
    probability = [prediction.probability for prediction in predictions]
    assert probability == apply_temperature(score, temperature).tolist()
    members = np.array([prediction.members for prediction in predictions]).T
    by_fold = [scores for name, scores in evaluation.y_score.items() if name != ENSEMBLE_NAME]
    assert members.tolist() == apply_temperature(np.stack(by_fold), temperature).tolist()


def test_labels_are_those_of_the_figures_at_the_rule(
    ensemble: Predictor, xrays: list[Path], evaluated: tuple[Run, Evaluation], small_dataset: Dataset
) -> None:
    predictions, _ = predict(ensemble, xrays)
    at_rule = evaluated[1].figures.at_rule
    assert at_rule is not None
    called = np.array([CLASS_NAMES.index(prediction.label) for prediction in predictions])
    truth = small_dataset.test.labels
    counts = [int(((truth == label) & (called == answer)).sum()) for label in (0, 1) for answer in (0, 1)]
    metrics = at_rule[ENSEMBLE_NAME]
    assert counts == [metrics.tn, metrics.fp, metrics.fn, metrics.tp]


@pytest.mark.parametrize("temperature", [0.2, 1.0, 4.0])
def test_decision_is_the_same_on_both_scales(
    temperature: float, ensemble: Predictor, xrays: list[Path]
) -> None:
    model, card = ensemble
    middle = float(np.median([prediction.score for prediction in predict(ensemble, xrays)[0]]))
    moved = card.model_copy(update={"threshold": middle, "temperature": temperature})
    predictions, _ = predict((model, moved), xrays)
    assert {prediction.label for prediction in predictions} == set(CLASS_NAMES)
    for prediction in predictions:
        is_called = prediction.label == "pneumonia"
        assert is_called == (prediction.score >= middle)
        assert is_called == (prediction.probability >= moved.calibrated_threshold)


def test_single_model_has_one_member(train_run: Run, xrays: list[Path]) -> None:
    predictions, _ = predict(open_keras(find_predictor(train_run.path.parent)), xrays[:3])
    for prediction in predictions:
        assert prediction.members == [prediction.probability]
        assert (prediction.uncertain, prediction.spread) == (False, 0)


def test_lone_fold_answers_uncalibrated_at_0_5(cv_run: Run, xrays: list[Path]) -> None:
    model, card = open_keras(find_predictor(cv_run.path, cv_run.fold_path(1)))
    assert (card.rule, card.threshold, card.calibrated_threshold) == (None, 0.5, 0.5)
    for prediction in predict((model, card), xrays)[0]:
        assert prediction.probability == pytest.approx(prediction.score, abs=1e-9)
        assert prediction.label == CLASS_NAMES[int(prediction.score >= 0.5)]


def test_answers_come_in_the_order_given(ensemble: Predictor, xrays: list[Path]) -> None:
    forward, _ = predict(ensemble, xrays)
    backward, _ = predict(ensemble, xrays[::-1])
    assert [prediction.path for prediction in forward] == [str(path) for path in xrays]
    assert [prediction.path for prediction in backward] == [str(path) for path in xrays[::-1]]
    np.testing.assert_allclose(
        [prediction.probability for prediction in backward[::-1]],
        [prediction.probability for prediction in forward],
        rtol=0,
        atol=1e-6,
    )


def test_an_image_does_not_change_its_neighbours_answer(ensemble: Predictor, xrays: list[Path]) -> None:
    (alone,), _ = predict(ensemble, xrays[:1])
    among, _ = predict(ensemble, xrays)
    assert alone.probability == pytest.approx(among[0].probability, abs=1e-6)


def test_label_changes_at_the_models_threshold(ensemble: Predictor, xrays: list[Path]) -> None:
    model, card = ensemble
    predictions, _ = predict(ensemble, xrays)
    cut = sorted(prediction.score for prediction in predictions)[len(xrays) // 2]
    moved = card.model_copy(update={"threshold": cut})
    for prediction in predict((model, moved), xrays)[0]:
        assert prediction.label == CLASS_NAMES[int(prediction.score >= cut)]


def test_bad_files_among_good_ones(ensemble: Predictor, xrays: list[Path], tmp_path: Path) -> None:
    text, missing = tmp_path / "notes.txt", tmp_path / "missing.png"
    text.write_text("hello")
    predictions, failures = predict(ensemble, [text, xrays[1], missing, xrays[0]])
    assert [prediction.path for prediction in predictions] == [str(xrays[1]), str(xrays[0])]
    assert [failure.path for failure in failures] == [str(text), str(missing)]
    for failure in failures:
        assert failure.path in failure.reason
        assert len(failure.reason.splitlines()) == 1


def test_answers_and_failures_come_in_the_order_given(
    ensemble: Predictor, xrays: list[Path], tmp_path: Path
) -> None:
    paths = [tmp_path / "a.png", xrays[0], tmp_path / "b.png", xrays[1], xrays[2]]
    answers = list(predict_files(*ensemble, paths))
    assert [answer.path for answer in answers] == [str(path) for path in paths]
    assert [type(answer) for answer in answers] == [Failure, Prediction, Failure, Prediction, Prediction]


def test_many_files_are_answered_batch_by_batch(
    ensemble: Predictor, xrays: list[Path], tmp_path: Path
) -> None:
    paths = [*xrays, tmp_path / "missing.png"] * 15
    heard: list[int] = []
    answers = list(predict_files(*ensemble, paths, listen=lambda step: heard.append(step.done)))
    assert [answer.path for answer in answers] == [str(path) for path in paths]
    first, _ = predict(ensemble, xrays)
    for number, answer in enumerate(answers):
        place = number % (len(xrays) + 1)
        if place == len(xrays):
            assert isinstance(answer, Failure)
        else:
            assert isinstance(answer, Prediction)
            assert answer.probability == pytest.approx(first[place].probability, abs=1e-6)
    assert heard == sorted(set(heard))
    assert heard[-1] == len(paths)


def test_no_files(ensemble: Predictor) -> None:
    assert list(predict_files(*ensemble, [])) == []


def test_only_bad_files(ensemble: Predictor, tmp_path: Path) -> None:
    predictions, failures = predict(ensemble, [tmp_path, tmp_path / "missing.png"])
    assert predictions == []
    assert len(failures) == 2


def test_same_file_twice(ensemble: Predictor, xrays: list[Path]) -> None:
    predictions, _ = predict(ensemble, [xrays[0], xrays[0]])
    assert predictions[0] == predictions[1]


def test_model_of_another_preparation_is_refused(ensemble: Predictor, xrays: list[Path]) -> None:
    model, card = ensemble
    other = card.model_copy(update={"preparation": card.preparation + 1})
    with pytest.raises(RunError, match="preparation 3") as caught:
        list(predict_files(model, other, xrays))
    assert len(str(caught.value).splitlines()) == 1


def test_model_of_the_preparation_before_answers(ensemble: Predictor, xrays: list[Path]) -> None:
    model, card = ensemble
    before = card.model_copy(update={"preparation": 1})
    assert predict((model, before), xrays) == predict(ensemble, xrays)


def test_rows_have_the_same_names_whether_answered_or_not(ensemble: Predictor, xrays: list[Path]) -> None:
    answered, failed = (
        answer.to_row() for answer in predict_files(*ensemble, [xrays[0], xrays[0].with_name("missing.png")])
    )
    names = [
        "path",
        "probability",
        "label",
        "uncertain",
        "spread",
        "score",
        "members",
        "atypical",
        "distance",
        "explanation",
        "error",
    ]
    assert list(answered) == list(failed) == names
    assert type(answered["probability"]) is float
    assert type(answered["uncertain"]) is bool
    assert answered["label"] in CLASS_NAMES
    assert answered["error"] is None
    assert {name for name, value in failed.items() if value is not None} == {"path", "error"}


@pytest.mark.parametrize("temperature", [0.2, 1.0, 4.0])
def test_uncertain_where_members_alone_would_call_it_differently(
    temperature: float, ensemble: Predictor, xrays: list[Path]
) -> None:
    model, card = ensemble
    raw = predict((model, card.model_copy(update={"temperature": 1.0})), xrays)[0]
    # Half way between the members of one image, which is then uncertain whatever the scale.
    middle = (min(raw[0].members) + max(raw[0].members)) / 2
    moved = card.model_copy(update={"threshold": middle, "temperature": temperature})
    predictions = predict((model, moved), xrays)[0]
    assert predictions[0].uncertain
    for prediction, uncalibrated in zip(predictions, raw, strict=True):
        assert prediction.uncertain == (min(uncalibrated.members) < middle <= max(uncalibrated.members))
        called = {member >= moved.calibrated_threshold for member in prediction.members}
        assert prediction.uncertain == (len(called) == 2)
        assert prediction.spread == max(prediction.members) - min(prediction.members)
    none = card.model_copy(update={"threshold": 0.0})
    assert not any(prediction.uncertain for prediction in predict((model, none), xrays)[0])


def test_a_folder_s_scans_without_an_image_are_passed_over(
    ensemble: Predictor, xrays: list[Path], tmp_path: Path
) -> None:
    report = write_dicom(tmp_path / "report", None)
    told: list[str] = []
    sources = [Source(str(report), found=True), Source(str(xrays[0]), found=True), Source(str(report))]
    answers = list(predict_files(*ensemble, sources, notify=told.append))
    assert [type(answer) for answer in answers] == [Prediction, Failure]
    assert answers[1].path == str(report)
    assert told == ["passed over 1 DICOM files without an image"]


def test_enlarged_files_get_the_same_scores(ensemble: Predictor, xrays: list[Path], tmp_path: Path) -> None:
    enlarged = [tmp_path / path.name for path in xrays]
    for path, larger in zip(xrays, enlarged, strict=True):
        with Image.open(path) as image:
            image.resize((224, 224), Image.Resampling.NEAREST).save(larger)
    small, large = (predict(ensemble, paths)[0] for paths in (xrays, enlarged))
    assert [each.score for each in small] == [each.score for each in large]


def test_tally_counts_and_names_the_first_failures() -> None:
    answered = Prediction("a.png", 0.5, "normal", False, 0.0, 0.5, [0.5])
    failures = [Failure(f"{number}.png", "no") for number in range(NAMED_FAILURES + 5)]
    tally = Tally()
    answers = [*failures[:10], answered, *failures[10:]]
    assert list(tally.count(answers)) == answers
    assert (tally.answered, tally.failed) == (1, len(failures))
    assert tally.named == failures[:NAMED_FAILURES]
