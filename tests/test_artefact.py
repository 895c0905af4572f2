"""The model file: model and card in one, what is refused, and that nothing half-written stays."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from small import TINY

from pneumocli import DISCLAIMER
from pneumocli.core.artefact import load_model, read_card, save_model
from pneumocli.core.contract import CARD, ModelCard
from pneumocli.core.decision import Decision
from pneumocli.core.errors import RunError
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.joining import join_classifier
from pneumocli.core.model import BackboneBuilder, build_parts
from pneumocli.core.records import DataRecord, WeightsRecord

DATA = DataRecord(
    name="small.npz",
    digest="0" * 64,
    identity="drawn for the tests",
    synthetic=True,
    pixels=28,
    train_images=24,
    stopping_images=12,
)
MODEL_CARD = ModelCard(
    name="cv-1, fold 2",
    members=1,
    pixels=28,
    preparation=1,
    threshold=0.37,
    rule="youden",
    temperature=1 / 3,
    source="out_of_fold",
    data=DATA,
    weights=WeightsRecord(name="weights.h5", sha256="1" * 64),
    created="2024-01-01T00:00:00.000000+00:00",
)


@pytest.fixture(scope="module")
def classifier(tiny_backbone: BackboneBuilder) -> keras.Model:
    return join_classifier(build_parts(28, TINY, None, backbone_builder=tiny_backbone))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


@pytest.fixture
def model_file(classifier: keras.Model, tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    save_model(classifier, path, MODEL_CARD)
    return path


def refuse(path: Path) -> str:
    with pytest.raises(RunError) as caught:
        load_model(path)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(path) in line
    return line


def replace_card(path: Path, card: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (entries | {CARD: card}).items():
            archive.writestr(name, content)


def test_model_and_card_come_back(
    model_file: Path, classifier: keras.Model, images: NDArray[np.uint8]
) -> None:
    model, card = load_model(model_file)
    assert card == MODEL_CARD == read_card(model_file)
    assert card.disclaimer == DISCLAIMER
    scores, expected = (compute_member_scores(one, images) for one in (model, classifier))
    assert scores.tobytes() == expected.tobytes()


def test_card_without_a_decision_calls_at_0_5(model_file: Path) -> None:
    content = MODEL_CARD.model_dump(mode="json")
    for name in ("rule", "temperature", "source", "threshold"):
        del content[name]
    replace_card(model_file, json.dumps(content).encode())
    card = read_card(model_file)
    assert (card.rule, card.threshold, card.temperature, card.source) == (None, 0.5, 1.0, None)
    assert card.calibrated_threshold == 0.5


def test_card_takes_a_decision_to_the_last_bit(classifier: keras.Model, tmp_path: Path) -> None:
    decision = Decision(
        rule="f1",
        threshold=0.1 + 0.2,
        temperature=2 / 3,
        source="val",
        data="small.npz",
        images=12,
        sensitivity=0.9,
        specificity=0.8,
    )
    path = tmp_path / "model.keras"
    save_model(classifier, path, MODEL_CARD.decide(decision))
    card = read_card(path)
    assert (card.rule, card.threshold, card.temperature, card.source) == ("f1", 0.1 + 0.2, 2 / 3, "val")
    assert card.name == MODEL_CARD.name
    # 1 / (1 + exp(-logit(p) / T)), written with powers of the odds
    odds = (card.threshold / (1 - card.threshold)) ** 1.5
    assert card.calibrated_threshold == pytest.approx(odds / (1 + odds))


def test_keras_alone_loads_the_file(
    model_file: Path, classifier: keras.Model, images: NDArray[np.uint8]
) -> None:
    model = keras.saving.load_model(model_file, safe_mode=True)
    batch = images[..., np.newaxis]
    np.testing.assert_array_equal(model.predict_on_batch(batch), classifier.predict_on_batch(batch))


def test_file_can_be_renamed_and_moved(model_file: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "kept.keras"
    moved.parent.mkdir()
    model_file.rename(moved)
    assert load_model(moved)[1] == MODEL_CARD


def test_file_is_replaced_by_a_later_one(model_file: Path, classifier: keras.Model) -> None:
    later = MODEL_CARD.model_copy(update={"name": "later"})
    save_model(classifier, model_file, later)
    assert read_card(model_file) == later
    with zipfile.ZipFile(model_file) as archive:
        assert archive.namelist().count(CARD) == 1


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refuse(tmp_path / "missing.keras")


def test_directory(tmp_path: Path) -> None:
    refuse(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04"])
def test_other_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    assert "not a model that pneumocli wrote" in refuse(path)


def test_keras_model_of_somebody_else(classifier: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "foreign.keras"
    classifier.save(path)
    assert "not a model that pneumocli wrote" in refuse(path)


BAD_CARDS = {
    "empty": b"",
    "list": b"[]",
    "binary": b"\xff\xfe",
    "later version": MODEL_CARD.model_copy(update={"schema_version": 2}).model_dump_json().encode(),
    "temperature of 0": MODEL_CARD.model_copy(update={"temperature": 0.0}).model_dump_json().encode(),
    "fixed on test": MODEL_CARD.model_copy(update={"source": "test"})
    .model_dump_json(warnings=False)
    .encode(),
    "no members": MODEL_CARD.model_copy(update={"members": 0}).model_dump_json().encode(),
}


@pytest.mark.parametrize("card", BAD_CARDS.values(), ids=BAD_CARDS.keys())
def test_damaged_card(card: bytes, model_file: Path) -> None:
    replace_card(model_file, card)
    refuse(model_file)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_cut_off_file(share: float, model_file: Path) -> None:
    whole = model_file.read_bytes()
    model_file.write_bytes(whole[: int(share * len(whole))])
    refuse(model_file)


@pytest.mark.parametrize("entry", ["config.json", "model.weights.h5"])
@pytest.mark.parametrize("content", [b"", b"hello", b"{}"])
def test_damaged_model_behind_a_good_card(entry: str, content: bytes, model_file: Path) -> None:
    with zipfile.ZipFile(model_file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(model_file, "w") as archive:
        for name, kept in (entries | {entry: content}).items():
            archive.writestr(name, kept)
    assert read_card(model_file) == MODEL_CARD
    refuse(model_file)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    image = keras.Input((28, 28, 1), dtype="uint8")
    model = keras.Model(image, keras.layers.Lambda(lambda tensor: tensor)(image))
    path = tmp_path / "model.keras"
    save_model(model, path, MODEL_CARD)
    refuse(path)


def fail(*arguments: Any, **options: Any) -> None:
    raise OSError(28, "No space left on device")


def test_nothing_stays_when_the_model_cannot_be_saved(
    classifier: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_half(model: keras.Model, path: Path) -> None:
        Path(path).write_bytes(b"half")
        fail()

    monkeypatch.setattr(keras.Model, "save", save_half)
    with pytest.raises(OSError, match="No space"):
        save_model(classifier, tmp_path / "model.keras", MODEL_CARD)
    assert not list(tmp_path.iterdir())


def test_the_earlier_file_stays_when_the_card_cannot_be_added(
    model_file: Path, classifier: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model_file.read_bytes()
    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="No space"):
        save_model(classifier, model_file, MODEL_CARD)
    assert [path.name for path in model_file.parent.iterdir()] == [model_file.name]
    assert model_file.read_bytes() == before
