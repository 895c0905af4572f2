"""Training in bfloat16 and float16: what is rounded, what is not, and what is left of it in the model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from learnable import CONFIG, compute_stopping_loss, find_kept, list_changed

from pneumocli.core.config import Precision
from pneumocli.core.data import Dataset
from pneumocli.core.inference import compute_member_scores
from pneumocli.core.material import Material
from pneumocli.core.model import build_parts, copy_weights
from pneumocli.core.training import Trained, score_features, train_classifier

pytest_plugins = ["learnt"]


@dataclass
class MixedRun:
    """A training run in bfloat16, and the models that were fitted."""

    trained: Trained
    fitted: list[keras.Model]


@pytest.fixture(scope="module")
def mixed(material: Material) -> MixedRun:
    fitted: list[keras.Model] = []
    fit_model = keras.Model.fit

    def watch_fit(model: keras.Model, *args: Any, **settings: Any) -> Any:
        fitted.append(model)
        return fit_model(model, *args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", watch_fit)
        trained = train_classifier(replace(material, precision=Precision.BFLOAT16))
    return MixedRun(trained, fitted)


def list_layers(model: keras.Model) -> list[keras.layers.Layer]:
    return list(model._flatten_layers(include_self=False))


def test_mixed_training_multiplies_in_bfloat16_and_keeps_its_weights_in_float32(mixed: MixedRun) -> None:
    assert len(mixed.fitted) == 2
    for model in mixed.fitted:
        products = {
            layer.name: layer.compute_dtype for layer in list_layers(model) if layer.trainable_weights
        }
        assert products.pop("logit") == "float32"
        assert products.pop("head", "bfloat16") == "bfloat16"
        assert set(products.values()) == {"bfloat16"}
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


def test_mixed_training_ends_in_a_float32_classifier(mixed: MixedRun, material: Material) -> None:
    parts = mixed.trained.parts
    for part in (parts.trunk, parts.tail, parts.head):
        assert {layer.dtype_policy.name for layer in list_layers(part)} == {"float32"}
        assert {array.dtype for array in part.get_weights()} <= {np.dtype(np.float32)}
    before = build_parts(28, CONFIG, None, backbone_builder=material.backbone_builder)
    assert list_changed(before.trunk, parts.trunk) == set()
    assert list_changed(before.tail, parts.tail) == {"last_conv"}
    assert list_changed(before.head, parts.head) == {"hidden", "logit"}
    assert keras.config.dtype_policy().name == "float32"


def test_mixed_training_learns_what_can_be_learnt(mixed: MixedRun) -> None:
    history = mixed.trained.history
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
    assert find_kept(history)["val_auc"] > 0.95


def test_weights_of_mixed_training_are_those_of_its_kept_epoch(mixed: MixedRun, material: Material) -> None:
    alpha = float((material.labels == 0).mean())
    loss = compute_stopping_loss(mixed.trained, material, alpha)
    assert loss == pytest.approx(find_kept(mixed.trained.history)["val_loss"], rel=5e-3)


def test_scores_of_the_same_weights_differ_little_between_the_precisions(
    mixed: MixedRun, material: Material
) -> None:
    rounded = build_parts(
        28, CONFIG, None, precision=Precision.BFLOAT16, backbone_builder=material.backbone_builder
    )
    copy_weights(mixed.trained.parts, rounded)
    whole, near = (
        score_features(parts, material.val.maps, np.arange(24)) for parts in (mixed.trained.parts, rounded)
    )
    assert (whole != near).any(), "the other precision was in use"
    np.testing.assert_allclose(near, whole, rtol=0, atol=2e-3)
    assert np.ptp(whole) > 0.1


def test_saved_model_of_mixed_training_loads_as_float32(
    mixed: MixedRun, dataset: Dataset, material: Material, tmp_path: Path
) -> None:
    mixed.trained.join().save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", compile=False, safe_mode=True)
    assert {layer.dtype_policy.name for layer in list_layers(loaded)} == {"float32"}
    scores = compute_member_scores(loaded, dataset.val.images)[0]
    from_features = score_features(mixed.trained.parts, material.val.maps, np.arange(24))
    np.testing.assert_array_equal(scores, from_features)


class Stop(Exception):
    """Ends a training run before it begins."""


def test_float16_training_scales_its_loss(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    # Gradients below 6e-8 are zero in float16.
    optimizers: list[keras.optimizers.Optimizer] = []

    def stop(model: keras.Model, *args: Any, **settings: Any) -> None:
        optimizers.append(model.optimizer)
        raise Stop

    monkeypatch.setattr(keras.Model, "fit", stop)
    for precision in (Precision.FLOAT16, Precision.BFLOAT16, Precision.FLOAT32):
        with pytest.raises(Stop):
            train_classifier(replace(material, precision=precision))
    are_scaled = [isinstance(each, keras.optimizers.LossScaleOptimizer) for each in optimizers]
    assert are_scaled == [True, False, False]
