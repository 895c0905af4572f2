"""What a call would be worth where another share of the patients has pneumonia."""

from dataclasses import dataclass

import numpy as np

from pneumocli.core.metrics import Metrics
from pneumocli.core.uncertainty import Z


@dataclass(frozen=True)
class PredictiveValues:
    """Shares of right calls where a stated share of all patients has pneumonia.

    Attributes:
        ppv: of those called pneumonia, the share that has it; None if nobody is called so.
        npv: of those called normal, the share that is; None if nobody is called so.
        ppv_low, ppv_high, npv_low, npv_high: 95 % intervals; None where a class of the images that were
            scored is all right or all wrong, or nobody, or everybody, has pneumonia.
    """

    ppv: float | None = None
    npv: float | None = None
    ppv_low: float | None = None
    ppv_high: float | None = None
    npv_low: float | None = None
    npv_high: float | None = None


def project_values(
    metrics: Metrics, prevalence: float, effects: tuple[float, float] = (1.0, 1.0)
) -> PredictiveValues:
    """Return PPV and NPV by Bayes' theorem, sensitivity and specificity taken to be the same elsewhere.

    Altman and Bland 1994, BMJ 309:102. The intervals are those of Mercaldo et al. 2007, Statistics in
    Medicine 26:2170, on the logit scale: of the doubt about sensitivity and specificity, and none about the
    prevalence.

    Args:
        metrics: of the images that were scored.
        prevalence: share of pneumonia elsewhere, 0 to 1.
        effects: of sensitivity and of specificity, where images belong together; see
            `clusters.measure_effect`.
    """
    found, missed = metrics.sensitivity * prevalence, (1 - metrics.sensitivity) * prevalence
    left_alone, alarmed = metrics.specificity * (1 - prevalence), (1 - metrics.specificity) * (1 - prevalence)
    ppv = found / (found + alarmed) if found + alarmed > 0 else None
    npv = left_alone / (left_alone + missed) if left_alone + missed > 0 else None
    tn, fp, fn, tp = metrics.tn, metrics.fp, metrics.fn, metrics.tp
    if not (min(tn, fp, fn, tp) > 0 and 0 < prevalence < 1):
        return PredictiveValues(ppv, npv)
    of_sensitivity, of_specificity = effects
    ppv_low, ppv_high = _bound(
        found / alarmed, of_sensitivity * fn / (tp * (fn + tp)) + of_specificity * tn / (fp * (tn + fp))
    )
    npv_low, npv_high = _bound(
        left_alone / missed, of_sensitivity * tp / (fn * (fn + tp)) + of_specificity * fp / (tn * (tn + fp))
    )
    return PredictiveValues(ppv, npv, ppv_low, ppv_high, npv_low, npv_high)


def _bound(odds: float, variance: float) -> tuple[float, float]:
    """Return the interval of a share, from its odds and the variance of their logarithm."""
    low, high = (odds * np.exp(sign * Z * np.sqrt(variance)) for sign in (-1, 1))
    return float(low / (1 + low)), float(high / (1 + high))
