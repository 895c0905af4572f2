"""The focal loss: Keras's own, with class weights counted from the labels it is trained on."""

import keras
import numpy as np
from numpy.typing import NDArray


def balance_classes(labels: NDArray[np.int64]) -> float:
    """Return the focal loss's alpha, the weight of pneumonia against 1 - alpha for normal.

    Balanced weights N / (2 N_c) stand to each other as the other class's share, so that
    alpha = N_normal / N: each class carries half of the weight, whatever its number.

    Args:
        labels: (N,), 0 or 1, of the images trained on.
    """
    return float(np.mean(labels == 0))


def build_focal_loss(
    labels: NDArray[np.int64], gamma: float, label_smoothing: float = 0.0
) -> keras.losses.Loss:
    """Return alpha_t (1 - p_t)^gamma times the cross-entropy, on logits (B, 1).

    Lin et al. 2017, arXiv:1708.02002, eq. 5. The class weights act once, here: `fit` gets no
    `class_weight` beside it. With smoothing, 0 and 1 become s / 2 and 1 - s / 2 (Szegedy et al. 2015,
    arXiv:1512.00567, section 7).
    """
    return keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True,
        alpha=balance_classes(labels),
        gamma=gamma,
        from_logits=True,
        label_smoothing=label_smoothing,
    )
