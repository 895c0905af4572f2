"""Models of one trunk, joined as one: what the ensemble answers, holds and refuses."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import SMALL, change, draw_images, list_modules, run_all, same_weights, shake
from numpy.typing import NDArray

from pneumocli.core.inference import compute_member_scores, count_filled, take_logits
from pneumocli.core.joining import join_classifier, join_ensemble
from pneumocli.core.metrics import average_scores
from pneumocli.core.model import BackboneBuilder, Parts, build_parts


@pytest.fixture(scope="module")
def members(tiny_backbone: BackboneBuilder) -> list[Parts]:
    made = [build_parts(28, SMALL, None, fold=fold, backbone_builder=tiny_backbone) for fold in range(3)]
    for number, parts in enumerate(made):
        shake(parts.tail, seed=number)
        shake(parts.head, seed=number)
    return made


def check_ensemble(ensemble: keras.Model, members: list[Parts], images: NDArray[np.uint8]) -> None:
    # So many that all go through the same kernels.
    images = np.resize(images, (count_filled(len(images)), *images.shape[1:]))
    outputs = ensemble.predict(images, verbose=0)
    own = [run_all(join_classifier(parts), images) for parts in members]
    np.testing.assert_array_equal(outputs["member_logits"], np.hstack(own))
    probabilities = 1 / (1 + np.exp(-np.hstack(own).astype(np.float64)))
    assert len({column.tobytes() for column in probabilities.T}) == len(members), "the members differ"
    np.testing.assert_allclose(outputs["probability"], probabilities.mean(axis=1, keepdims=True), atol=1e-6)
    member_scores = compute_member_scores(ensemble, images[..., 0])
    np.testing.assert_allclose(member_scores, probabilities.T, atol=1e-6)
    np.testing.assert_allclose(average_scores(member_scores), outputs["probability"][:, 0], atol=1e-6)


def test_ensemble_answers_as_its_members_do(members: list[Parts], tmp_path: Path) -> None:
    ensemble, images = join_ensemble(members), draw_images()
    assert take_logits(ensemble).output.shape == (None, 3)
    check_ensemble(ensemble, members, images)
    ensemble.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    assert take_logits(loaded).output.shape == (None, 3)
    check_ensemble(loaded, members, images)
    assert all(module.startswith("keras") for module in list_modules(tmp_path / "a.keras"))


def test_ensemble_holds_the_trunk_once(members: list[Parts]) -> None:
    own = sum(parts.tail.count_params() + parts.head.count_params() for parts in members)
    assert join_ensemble(members).count_params() == members[0].trunk.count_params() + own


def test_single_classifier_gives_its_logit_as_it_is(members: list[Parts]) -> None:
    classifier = join_classifier(members[0])
    assert take_logits(classifier) is classifier


def move_trunk(parts: Parts) -> Parts:
    shake(parts.trunk, seed=7)
    return parts


@pytest.mark.parametrize(
    "make",
    [
        lambda tiny: move_trunk(build_parts(28, SMALL, None, backbone_builder=tiny)),
        lambda tiny: build_parts(28, change(SMALL, tune_layers=1), None, backbone_builder=tiny),
        lambda tiny: build_parts(28, change(SMALL, image_size=64), None, backbone_builder=tiny),
        lambda tiny: build_parts(32, SMALL, None, backbone_builder=tiny),
    ],
    ids=["weights", "cut", "image size", "pixels"],
)
def test_ensemble_refuses_members_of_another_trunk(
    members: list[Parts], tiny_backbone: BackboneBuilder, make: Callable[[BackboneBuilder], Parts]
) -> None:
    with pytest.raises(ValueError, match=r"trunk|shape"):
        join_ensemble([members[0], make(tiny_backbone)])


def test_ensemble_refuses_a_cut_before_and_behind_an_activation(tiny_backbone: BackboneBuilder) -> None:
    before, behind = (
        build_parts(28, change(SMALL, tune_layers=number), None, backbone_builder=tiny_backbone)
        for number in (4, 3)
    )
    assert before.trunk.output_shape == behind.trunk.output_shape
    with pytest.raises(ValueError, match="trunk"):
        join_ensemble([before, behind])


def test_members_that_see_other_shares_of_an_image_are_not_joined(tiny_backbone: BackboneBuilder) -> None:
    whole, middle = (
        build_parts(28, change(SMALL, center_crop=share), None, backbone_builder=tiny_backbone)
        for share in (1.0, 0.9)
    )
    assert same_weights(whole.trunk, middle.trunk)
    with pytest.raises(ValueError, match="trunks differ"):
        join_ensemble([whole, middle])
    join_ensemble([middle, middle])


def test_joined_models_drop_nothing_out_when_they_are_called(
    tiny_backbone: BackboneBuilder, tmp_path: Path
) -> None:
    # Keras's Resizing hands training=True on to the layers behind it.
    config = change(SMALL, dropout=0.5)
    members = [build_parts(28, config, None, fold=n, backbone_builder=tiny_backbone) for n in (1, 2)]
    ensemble, classifier, images = join_ensemble(members), join_classifier(members[0]), draw_images()
    classifier.save(tmp_path / "model.keras")
    for model in (classifier, keras.saving.load_model(tmp_path / "model.keras")):
        called = keras.ops.convert_to_numpy(model(images))
        np.testing.assert_allclose(called, model.predict(images, verbose=0), rtol=1e-4, atol=1e-5)
    called = keras.ops.convert_to_numpy(ensemble(images)["probability"])
    expected = ensemble.predict(images, verbose=0)["probability"]
    np.testing.assert_allclose(called, expected, rtol=1e-4, atol=1e-5)
