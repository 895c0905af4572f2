"""The focal loss: what it must equal, and in which direction its class weights act."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.losses import balance_classes, build_focal_loss

BALANCED = np.array([0, 1])
MOSTLY_SICK = np.array([0, 1, 1, 1])
LOGITS = np.linspace(-6, 6, 13)


def compute_loss(loss: keras.losses.Loss, label: float, logit: float) -> float:
    return float(loss(np.array([[label]], np.float32), np.array([[logit]], np.float32)))


def cross_entropy(label: int, logit: float) -> float:
    return float(np.logaddexp(0, -logit if label else logit))


def missing_probability(label: int, logit: float) -> float:
    """1 - p_t, p_t being the probability given to the true class."""
    return 1 - np.exp(-cross_entropy(label, logit))


@pytest.mark.parametrize("label", [0, 1])
def test_without_focus_or_imbalance_it_is_half_the_cross_entropy(label: int) -> None:
    loss = build_focal_loss(BALANCED, gamma=0)
    for logit in LOGITS:
        assert compute_loss(loss, label, logit) == pytest.approx(cross_entropy(label, logit) / 2, rel=1e-4)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("gamma", [0.5, 1, 2, 5])
def test_its_share_of_the_cross_entropy_is_the_focal_factor(label: int, gamma: float) -> None:
    loss = build_focal_loss(MOSTLY_SICK, gamma)
    weight = {0: 0.75, 1: 0.25}[label]
    for logit in LOGITS:
        share = compute_loss(loss, label, logit) / cross_entropy(label, logit)
        assert share == pytest.approx(weight * missing_probability(label, logit) ** gamma, rel=1e-3)


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("gamma", [0, 2])
def test_minority_class_weighs_more(logit: float, gamma: float) -> None:
    few_normal = build_focal_loss(MOSTLY_SICK, gamma)
    normal, sick = compute_loss(few_normal, 0, -logit), compute_loss(few_normal, 1, logit)
    assert normal / sick == pytest.approx(3, rel=1e-5)
    few_sick = build_focal_loss(1 - MOSTLY_SICK, gamma)
    assert compute_loss(few_sick, 0, -logit) == pytest.approx(sick, rel=1e-5)
    assert compute_loss(few_sick, 1, logit) == pytest.approx(normal, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_both_classes_carry_the_same_weight_in_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], rng.integers(1, 50, 2)))
    loss = build_focal_loss(labels, gamma=2)
    totals = [(labels == label).sum() * compute_loss(loss, label, 0.0) for label in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


def test_weights_stand_to_each_other_as_balanced_class_weights() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1], [1214, 3494])
    normal, sick = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    alpha = balance_classes(labels)
    assert alpha / (1 - alpha) == pytest.approx(sick / normal)
    assert alpha < 0.5


def test_extreme_logits_keep_loss_and_gradient_finite() -> None:
    # A model that is its logit: a step of plain descent changes it by the gradient.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), build_focal_loss(MOSTLY_SICK, gamma=2), jit_compile=False)
    for logit in (-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4):
        for label in (0, 1):
            model.set_weights([np.array([[logit]], np.float32)])
            value = model.train_on_batch(np.ones((1, 1), np.float32), np.array([[label]], np.float32))
            gradient = logit - model.get_weights()[0].item()
            assert np.isfinite([value, gradient]).all()
            leads_away = logit < 0 if label else logit > 0
            if leads_away:
                assert np.sign(gradient) == (-1 if label else 1)


def test_a_batch_gives_the_mean_of_its_rows() -> None:
    loss = build_focal_loss(MOSTLY_SICK, gamma=2)
    labels = np.array([0, 1, 1, 0, 1], np.float32)
    logits = np.array([-1.0, 2.0, -0.5, 0.3, 1.1], np.float32)
    rows = [compute_loss(loss, label, logit) for label, logit in zip(labels, logits, strict=True)]
    assert float(loss(labels[:, None], logits[:, None])) == pytest.approx(np.mean(rows), rel=1e-6)


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_labels_in_a_row_or_a_column_agree(shape: tuple[int, ...]) -> None:
    loss = build_focal_loss(MOSTLY_SICK, gamma=2)
    labels: NDArray[np.float32] = np.array([0, 1, 1, 0, 1], np.float32)
    logits = np.array([[-1.0], [2.0], [-0.5], [0.3], [1.1]], np.float32)
    expected = float(loss(labels[:, None], logits))
    assert float(loss(labels.reshape(shape), logits)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("logit", [-200.0, -30.0, 0.0, 30.0, 200.0])
def test_sure_logits_have_a_finite_loss_and_gradient(gamma: float, logit: float) -> None:
    # Where 1 - p_t rounds to 0, a power of it below 1 has an infinite slope.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(1.0), build_focal_loss(BALANCED, gamma), jit_compile=False)
    for label in (0.0, 1.0):
        loss = model.train_on_batch(np.array([[logit]]), np.array([[label]]))
        assert np.isfinite(loss)
        assert all(np.isfinite(weights).all() for weights in model.get_weights())


@pytest.mark.parametrize("gamma", [1.0, 2.0, 5.0])
def test_it_is_the_loss_that_keras_has(gamma: float) -> None:
    labels = np.tile([[0.0], [1.0]], (len(LOGITS), 1)).astype(np.float32)
    logits = np.repeat(LOGITS, 2)[:, np.newaxis].astype(np.float32)
    theirs = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=balance_classes(MOSTLY_SICK), gamma=gamma, from_logits=True
    )
    assert float(build_focal_loss(MOSTLY_SICK, gamma)(labels, logits)) == pytest.approx(
        float(theirs(labels, logits)), rel=1e-4
    )
