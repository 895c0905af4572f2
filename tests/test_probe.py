"""The linear probe: how it is fitted, on what, and what it is in the model."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from learnable import BRIEF, adjust, read_all
from networks import SMALL, draw_images, run_all, same_weights, shake
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pneumocli.core.blueprint import check_blueprint
from pneumocli.core.calibration import squash_logits
from pneumocli.core.inference import run_filled, take_answers, take_logits
from pneumocli.core.joining import join_classifier, join_ensemble, split_classifier, split_members
from pneumocli.core.material import Material
from pneumocli.core.model import BackboneBuilder, Parts, build_parts, build_probe
from pneumocli.core.probe import Probe, fit_probe
from pneumocli.core.training import Trained, score_and_pool, score_features, train_classifier

pytest_plugins = ["learnt"]

STRENGTH = 0.05


def draw_features(count: int = 60) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One in four is normal; what tells the classes apart stands on another scale than the rest."""
    rng = np.random.default_rng(3)
    labels = (np.arange(count) % 4 != 0).astype(np.int64)
    features = rng.normal(5, 1, (count, 7)) * 4.0 ** np.arange(-3, 4)
    features[:, 2] += 0.2 * labels
    return features.astype(np.float32), labels


def test_is_scikit_learns_regression_on_standardised_features() -> None:
    features, labels = draw_features()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced"))
    expected = model.fit(features.astype(np.float64), labels).decision_function(features)
    probe = fit_probe(features, labels, STRENGTH)
    assert probe.kernel.dtype == np.float32
    np.testing.assert_allclose(features @ probe.kernel + probe.bias, expected, atol=1e-3)


def test_nothing_near_it_has_a_lower_loss() -> None:
    """The objective by its formula: half of the squared weights, and C times the weighted losses."""
    features, labels = draw_features()
    probe = fit_probe(features, labels, STRENGTH)
    wide = features.astype(np.float64)
    middle, spread = wide.mean(axis=0), wide.std(axis=0)
    weights = len(labels) / (2 * np.bincount(labels)[labels])

    def measure(kernel: NDArray[np.float64], bias: float) -> float:
        logits = (wide - middle) / spread @ kernel + bias
        losses = np.logaddexp(0, np.where(labels == 1, -logits, logits))
        return float(0.5 * kernel @ kernel + STRENGTH * weights @ losses)

    kernel = probe.kernel * spread
    bias = probe.bias + float(probe.kernel @ middle)
    least = measure(kernel, bias)
    for place in range(len(kernel)):
        for step in (-0.02, 0.02):
            assert measure(kernel + step * np.eye(len(kernel))[place], bias) > least
    assert min(measure(kernel, bias - 0.02), measure(kernel, bias + 0.02)) > least


def test_a_channel_that_hardly_varies_does_not_outweigh_the_others() -> None:
    features, labels = draw_features()
    features = features / features.std(axis=0)
    dead = np.zeros_like(features[:, :2])
    dead[7, 0], dead[:, 1] = 1e-6, 0.3 + 9e-8 * labels
    probe = fit_probe(np.concatenate([features, dead], axis=1), labels, STRENGTH)
    assert np.abs(probe.kernel[-2:] * 0.1).max() < np.abs(probe.kernel[:-2]).max()
    np.testing.assert_allclose(probe.kernel[:-2], fit_probe(features, labels, STRENGTH).kernel, atol=1e-3)


def test_channels_that_are_all_constant_say_nothing() -> None:
    _, labels = draw_features()
    probe = fit_probe(np.full((len(labels), 3), 0.7, np.float32), labels, STRENGTH)
    assert not probe.kernel.any()
    assert abs(probe.bias) < 1e-3  # as many of each class, by their weights


def test_threads_change_no_bit() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(0, 1, (3139, 128)).astype(np.float32)
    labels = (features[:, 0] + rng.normal(0, 1, 3139) > -0.7).astype(np.int64)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            found.append(fit_probe(features, labels, STRENGTH))
    assert found[0].kernel.tobytes() == found[1].kernel.tobytes()
    assert found[0].bias == found[1].bias


@pytest.fixture(scope="module")
def members(tiny_backbone: BackboneBuilder) -> list[Parts]:
    made = []
    for fold in range(2):
        parts = build_parts(28, SMALL, None, fold=fold, backbone_builder=tiny_backbone)
        shake(parts.tail, seed=fold)
        rng = np.random.default_rng(fold)
        probe = Probe(rng.normal(0, 1, parts.trunk.output_shape[-1]).astype(np.float32), float(fold) - 0.5)
        made.append(replace(parts, probe=build_probe(parts, probe)))
    return made


def compute_logits(parts: Parts, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean of both logits, each by its formula."""
    maps = run_all(parts.trunk, images)
    tuned = run_all(keras.Model(parts.tail.inputs, parts.head(parts.tail.output)), maps)
    assert parts.probe is not None
    kernel, bias = parts.probe.get_weights()
    return (tuned[:, 0] + maps.mean(axis=(1, 2), dtype=np.float64) @ kernel[:, 0] + bias[0]) / 2


def test_logit_is_the_mean_of_the_networks_and_the_probes(members: list[Parts]) -> None:
    images = draw_images()
    for parts in members:
        logits = run_all(join_classifier(parts), images)[:, 0]
        np.testing.assert_allclose(logits, compute_logits(parts, images), atol=1e-4)
        without = run_all(join_classifier(replace(parts, probe=None)), images)[:, 0]
        assert np.abs(without - logits).max() > 0.1


def test_each_member_of_an_ensemble_has_its_own(members: list[Parts], tmp_path: Path) -> None:
    images = draw_images()
    expected = np.stack([compute_logits(parts, images) for parts in members], axis=1)
    join_ensemble(members).save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        check_blueprint(json.loads(archive.read("config.json")))  # else no model file of ours would be read
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    np.testing.assert_allclose(run_all(take_logits(loaded), images), expected, atol=1e-4)
    for parts, found in zip(members, split_members(loaded), strict=True):
        assert parts.probe is not None and found.probe is not None
        assert same_weights(parts.probe, found.probe) and same_weights(parts.tail, found.tail)


def test_every_way_to_a_score_goes_through_it(members: list[Parts]) -> None:
    images, parts = draw_images(), members[0]
    expected = squash_logits(compute_logits(parts, images).astype(np.float32))
    maps, rows = run_all(parts.trunk, images), np.arange(len(images))
    np.testing.assert_allclose(score_features(parts, maps, rows), expected, atol=1e-5)
    np.testing.assert_allclose(score_and_pool(parts, maps, rows)[0], expected, atol=1e-5)
    answers = run_filled(take_answers(join_classifier(parts), None), images)
    np.testing.assert_allclose(squash_logits(answers[:, 0]), expected, atol=1e-5)


def test_a_classifier_is_taken_apart_with_and_without_one(members: list[Parts]) -> None:
    found = split_classifier(join_classifier(members[0])).probe
    assert found is not None and members[0].probe is not None and same_weights(found, members[0].probe)
    assert split_classifier(join_classifier(replace(members[0], probe=None))).probe is None


@pytest.fixture(scope="module")
def rows(material: Material) -> NDArray[np.int64]:
    return np.flatnonzero(np.arange(len(material.labels)) % 3 != 0)


def brighten(material: Material) -> NDArray[np.float32]:
    """Other features of the images as they are than those of the views, which tuning learns from."""
    return 1.5 * read_all(material.maps)


@pytest.fixture(scope="module")
def trained(material: Material, rows: NDArray[np.int64]) -> Trained:
    # What is not trained on has no say in it.
    others = np.setdiff1d(material.rows(), rows)
    maps = brighten(material)
    maps[others] = np.nan
    return train_classifier(replace(adjust(material, BRIEF, probe=STRENGTH), maps=maps), rows)


def test_is_fitted_on_the_images_trained_on_as_they_are(
    material: Material, rows: NDArray[np.int64], trained: Trained
) -> None:
    assert trained.parts.probe is not None
    kernel, bias = trained.parts.probe.get_weights()
    expected = fit_probe(brighten(material)[rows].mean(axis=(1, 2)), material.labels[rows], STRENGTH)
    np.testing.assert_allclose(kernel[:, 0], expected.kernel, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(bias[0], expected.bias, rtol=1e-3, atol=1e-5)


def test_leaves_what_is_tuned_as_it_was(
    material: Material, rows: NDArray[np.int64], trained: Trained
) -> None:
    without = train_classifier(adjust(material, BRIEF), rows)
    assert without.parts.probe is None
    assert same_weights(trained.parts.tail, without.parts.tail)
    assert same_weights(trained.parts.head, without.parts.head)
    assert trained.history == without.history
