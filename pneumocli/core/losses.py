"""The focal loss, with class weights counted from the labels it is trained on."""

from typing import Any

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


def build_focal_loss(labels: NDArray[np.int64], gamma: float) -> keras.losses.Loss:
    """Return the focal loss, its class weights counted from the labels it is trained on."""
    return FocalLoss(balance_classes(labels), gamma)


class FocalLoss(keras.losses.Loss):
    """alpha_t (1 - p_t)^gamma times the cross-entropy, on logits (B, 1) and labels 0 or 1, (B,) or (B, 1).

    Lin et al. 2017, arXiv:1708.02002, eq. 5. The class weights act once, here: `fit` gets no
    `class_weight` beside it.
    """

    def __init__(self, alpha: float, gamma: float) -> None:
        """Take the weight of pneumonia, 0 to 1, and the focusing parameter, at least 0."""
        super().__init__(name="focal_loss")
        self.alpha = alpha
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row, (B,)."""
        y_true = keras.ops.cast(keras.ops.reshape(y_true, keras.ops.shape(y_pred)), y_pred.dtype)
        towards_truth = (2 * y_true - 1) * y_pred
        weight = self.alpha * y_true + (1 - self.alpha) * (1 - y_true)
        # (1 - p_t)^gamma as exp(gamma log(1 - p_t)): the power itself, as Keras's own loss has it, has no
        # gradient where p_t rounds to 1 and gamma is below 1, and the loss becomes not a number.
        focus = keras.ops.exp(-self.gamma * keras.ops.softplus(towards_truth))
        return keras.ops.mean(weight * focus * keras.ops.softplus(-towards_truth), axis=-1)
