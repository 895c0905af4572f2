"""A linear probe: a logistic regression on what the frozen layers make of an image.

Alain and Bengio 2016, arXiv:1610.01644. It sees no more than the pretrained network does, and errs on other
images than the tuned one: the mean of the two logits is better than either (Wortsman et al. 2021,
arXiv:2109.01903, call it an ensemble in output space; figures: examples/recipe.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 1000  # of the solver, which takes some tens
LEAST_SPREAD = 0.01  # of a channel, as a share of the median channel's


@dataclass(frozen=True)
class Probe:
    """A linear layer on pooled features: their product with the kernel, float32 (F,), and the bias."""

    kernel: NDArray[np.float32]
    bias: float


def fit_probe(features: NDArray[np.float32], labels: NDArray[np.int64], strength: float) -> Probe:
    """Fit a logistic regression with balanced classes and an L2 penalty on standardised features.

    The same numbers whatever the number of threads. A channel that hardly varies is divided by a hundredth
    of the median channel's standard deviation and not by its own.

    Args:
        features: (N, F).
        labels: (N,), 0 or 1, both of them there.
        strength: C of scikit-learn's `LogisticRegression`, above 0: how much the images count against the
            penalty. From some thousands on the solver's tolerance ends the fit, and not the penalty.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    wide = features.astype(np.float64)
    middle, spread = wide.mean(axis=0), wide.std(axis=0)
    # Else a channel that is dead but for the last digits would, in another image, outweigh all others.
    varying = spread[spread > 0]
    spread = np.maximum(spread, LEAST_SPREAD * np.median(varying) if len(varying) else 1.0)
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=MOST_STEPS)
    # Sums on several threads end in other digits.
    with threadpool_limits(1, "blas"):
        regression.fit((wide - middle) / spread, labels)
        # Standardising is folded in, so that a dense layer is all that the model needs.
        kernel = regression.coef_[0] / spread
        bias = float(regression.intercept_[0] - kernel @ middle)
    return Probe(kernel.astype(np.float32), bias)
