"""A model as ONNX: its outputs are those of the Keras model, and its contract is inside."""

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from small import copy_run

from pneumocli import DISCLAIMER
from pneumocli.core import export
from pneumocli.core.artefact import load_model
from pneumocli.core.atypical import ATYPICAL, read_typical
from pneumocli.core.calibration import apply_temperature
from pneumocli.core.config import TrainConfig
from pneumocli.core.contract import CARD
from pneumocli.core.data import Dataset
from pneumocli.core.engine import open_predictor
from pneumocli.core.errors import PneumoError, RunError, SettingError
from pneumocli.core.evaluation import build_ensemble, load_predictor
from pneumocli.core.hashes import record_hash
from pneumocli.core.joining import join_classifier
from pneumocli.core.model import BackboneBuilder, build_parts
from pneumocli.core.predictor import ONNX, hash_predictor, list_source_files, place_onnx
from pneumocli.core.runs import DECISION, MODEL, Run
from pneumocli.core.sample import Sample
from pneumocli.core.session import (
    DISTANCE,
    FEATURES,
    FEW,
    LOGITS,
    MEANINGS,
    MEMBERS,
    PROBABILITY,
    SCORE,
    Contract,
    Session,
)

pytest_plugins = ["trained"]


@pytest.fixture(scope="module")
def images(small_dataset: Dataset) -> NDArray[np.uint8]:
    return small_dataset.test.images


@pytest.fixture
def copy(exported: Run, tmp_path: Path) -> Run:
    return copy_run(exported, tmp_path / "runs")


@pytest.mark.parametrize("few", [True, False])
def test_outputs_are_those_of_the_saved_members(few: bool, exported: Run, images: NDArray[np.uint8]) -> None:
    """The second way: each fold's file by Keras, and the formulas written out."""
    session = Session(place_onnx(exported), FEW if few else None)
    card = session.contract.card
    found = session.run(images, [PROBABILITY, SCORE, MEMBERS, LOGITS, FEATURES, DISTANCE])
    models = [load_model(folder / MODEL)[0] for folder in exported.member_paths()]
    pixels = images[..., np.newaxis]
    logits = np.concatenate([model.predict(pixels, verbose=0) for model in models], axis=1)
    np.testing.assert_allclose(found[LOGITS], logits, atol=1e-5)
    each = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(found[SCORE], each.mean(axis=1), atol=1e-6)
    score = each.mean(axis=1)
    calibrated = score ** (1 / card.temperature)
    calibrated /= calibrated + (1 - score) ** (1 / card.temperature)
    np.testing.assert_allclose(found[PROBABILITY], calibrated, atol=1e-5)
    np.testing.assert_allclose(found[MEMBERS], apply_temperature(each, card.temperature), atol=1e-5)
    trunk = models[0].get_layer("trunk")
    maps = trunk.predict(pixels, verbose=0)
    halves = np.split(maps, [maps.shape[1] // 2], axis=1)
    features = np.concatenate([half.mean(axis=(1, 2)) for half in halves], axis=1)
    np.testing.assert_allclose(found[FEATURES], features, rtol=1e-4, atol=1e-6)
    typical = read_typical(exported.path)
    assert typical is not None
    np.testing.assert_allclose(found[DISTANCE], typical.measure(features), rtol=1e-3)
    scored = session.score(images, len(images))
    assert scored.logits.tobytes() == found[LOGITS].tobytes()
    assert scored.distances is not None
    assert scored.distances.tobytes() == found[DISTANCE].tobytes()


def test_dropout_has_no_part_in_the_file(
    tiny_backbone: BackboneBuilder, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    import onnxruntime

    config = TrainConfig(image_size=32, head_units=16, tune_layers=6, dropout=0.5)
    model = join_classifier(build_parts(28, config, None, backbone_builder=tiny_backbone))
    # As models of earlier versions are: called, they drop out units.
    model.get_layer("trunk").get_layer("enlarge")._inbound_nodes[0].arguments.kwargs["training"] = True
    onnx.save(export._convert(model, 28), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {"image": images[..., np.newaxis]})
    expected = model.predict(images[..., np.newaxis], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_file_speaks_for_itself(exported: Run) -> None:
    model = onnx.load(place_onnx(exported))
    contract = Contract.model_validate_json({part.key: part.value for part in model.metadata_props}[CARD])
    card = load_predictor(exported)[1]
    assert contract.card.model_copy(update={"created": card.created}) == card
    assert contract.card.atypical is not None
    assert contract.card.data.digest == exported.record.data.digest
    assert contract.model_sha256 == hash_predictor(exported)
    assert contract.checked is not None
    assert contract.checked.images == 12
    assert 0 <= contract.checked.largest_difference < 1e-5
    assert contract.disclaimer == DISCLAIMER
    assert DISCLAIMER in model.doc_string
    assert {"onnx", "tf2onnx", "onnxruntime", "keras"} <= set(contract.versions)
    (image,) = model.graph.input  # raw pixels and nothing else
    names = [image.name, *(output.name for output in model.graph.output)]
    assert names == list(MEANINGS)


def test_one_file_s_difference_refuses_it(
    cv_run: Run, small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LIMIT", -1.0)
    run = copy_run(cv_run, tmp_path)
    before = sorted(os.listdir(run.path))
    with pytest.raises(PneumoError, match="12 drawn images a probability differs by") as caught:
        export.export_onnx(run, place_onnx(run), Sample(small_dataset.val.images, "drawn images"))
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(os.listdir(run.path)) == before


@pytest.mark.parametrize("wrong", [np.nan, 0.5])
def test_difference_counts_what_is_no_number(wrong: float) -> None:
    theirs = np.float64([0.25, 0.5])
    assert export._differ(np.float32([0.25, 0.5]), theirs) == 0
    assert export._differ(np.float32([0.25, 0.5 + wrong]), theirs) >= 0.5
    assert export._differ(np.float32([0.25]), theirs) == 1


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "tf2onnx" else object())
    with pytest.raises(PneumoError, match=r"export needs tf2onnx: pip install 'pneumocli\[export\]'"):
        export.check_installed()


def test_own_file_answers_and_another_does_not(copy: Run) -> None:
    told: list[str] = []
    opened = open_predictor(copy, notify=told.append)
    assert opened.scorer.engine.startswith("onnxruntime ")
    assert opened.model is None
    assert opened.chosen.model_sha256 == hash_predictor(copy)
    assert open_predictor(copy, "keras").scorer.engine.startswith("keras ")
    assert not told
    with open(copy.fold_path(2) / MODEL, "ab") as file:
        file.write(b"more")
    record_hash(copy.fold_path(2) / MODEL)
    assert open_predictor(copy, notify=told.append).scorer.engine.startswith("keras ")
    (line,) = told
    assert "was made from other files" in line
    with pytest.raises(RunError, match="was made from other files"):
        open_predictor(copy, "onnx")


@pytest.mark.parametrize("name", [DECISION, ATYPICAL])
def test_another_decision_or_reference_makes_it_stale(name: str, copy: Run) -> None:
    contract = Session(place_onnx(copy)).contract
    assert contract.is_of(list_source_files(copy))
    content = (copy.path / name).read_bytes()
    (copy.path / name).write_bytes(content[::-1])
    assert not contract.is_of(list_source_files(copy))


def test_times_that_changed_do_not_make_it_stale(copy: Run) -> None:
    for path in list_source_files(copy):
        os.utime(path, ns=(1, 1))
    assert open_predictor(copy, "onnx").model is None


def test_an_ensemble_built_since_is_another_model(copy: Run) -> None:
    build_ensemble(copy)
    with pytest.raises(RunError, match="was made from other files"):
        open_predictor(copy, "onnx")


def test_damaged_file_gives_way_to_keras(copy: Run) -> None:
    told: list[str] = []
    for content in (b"", b"hello", place_onnx(copy).read_bytes()[:5000]):
        place_onnx(copy).write_bytes(content)
        with pytest.raises(RunError, match="not the file that its run wrote"):
            open_predictor(copy, "onnx")
        record_hash(place_onnx(copy))
        told.clear()
        assert open_predictor(copy, notify=told.append).model is not None
        assert len(told) == 1
        with pytest.raises(RunError, match="is damaged"):
            open_predictor(copy, "onnx")


def test_whole_file_that_another_took_the_place_of_is_refused(copy: Run) -> None:
    import onnx

    path = place_onnx(copy)
    other = onnx.load(path)
    other.doc_string = "made elsewhere"
    onnx.save(other, path)
    Session(path)
    with pytest.raises(RunError, match="not the file that its run wrote"):
        open_predictor(copy, "onnx")


def test_somebody_else_s_onnx_file(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Abs", ["a"], ["b"])], "g", ends[:1], ends[1:])
    path = tmp_path / "abs.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(RunError, match="not an ONNX file that pneumocli wrote"):
        Session(path)


def test_what_an_engine_cannot_do(exported: Run, tmp_path: Path) -> None:
    alone = Path(shutil.copy(exported.path / ONNX, tmp_path / "kept.onnx"))
    with pytest.raises(SettingError, match="does not hold"):
        open_predictor(alone, "keras")
    with pytest.raises(SettingError, match="--explain"):
        open_predictor(alone, explains=True)
    with pytest.raises(SettingError, match="--explain"):
        open_predictor(exported, "onnx", explains=True)
    told: list[str] = []
    assert open_predictor(exported, explains=True, notify=told.append).model is not None
    assert "--explain needs Keras" in told[0]
    with pytest.raises(RunError, match="pneumocli export"):
        open_predictor(exported.fold_path(1) / MODEL, "onnx")
