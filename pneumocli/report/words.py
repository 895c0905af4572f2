"""What a report says of a run in sentences, which know neither HTML nor Markdown."""

from collections.abc import Iterator, Mapping

from pneumocli.core.calibration import Calibration
from pneumocli.core.config import Schedule, TrainConfig
from pneumocli.core.decision import Decision
from pneumocli.core.figures import ENSEMBLE_NAME, POOLED_NAME, Figures
from pneumocli.core.groups import NEAR_CORRELATION
from pneumocli.core.identity import Kind
from pneumocli.core.records import RunRecord
from pneumocli.core.rule import is_threshold
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.summary import Scored, Summary
from pneumocli.core.uncertainty import Estimate
from pneumocli.report.tables import SOURCES

SPLIT_WORDS = {
    "test": "test images",
    "val": "validation images",
    OUT_OF_FOLD: "out-of-fold images",
    "all": "images",
    "train": "training",
}
RELIABILITY_TITLES = {"brier": "Brier score", "ece": "ECE, 15 equal bins", "log_loss": "log loss"}
INDEPENDENT = "each image taken as independent: too narrow where several are of one patient"
# A rule that moved by more than this share of a class, and not by chance, is named among the limits.
FAR = 0.05

MEDMNIST = (
    "PneumoniaMNIST is part of MedMNIST v2 (Yang et al., Scientific Data 10:41, 2023, "
    "doi:10.1038/s41597-022-01721-8), made from the chest X-rays of Kermany et al. (Cell 172:1122, 2018, "
    "doi:10.1016/j.cell.2018.02.010). Both are licensed CC BY 4.0: who passes them on names both."
)


def describe_folds(record: RunRecord) -> str:
    """Return in words how a cross-validation divided its training images."""
    repeats = record.settings.repeats
    return f"{record.folds} stratified folds" + (f", drawn {repeats} times" if repeats > 1 else "")


def name_split(scored: Scored) -> str:
    """Return in words which images were scored."""
    return SPLIT_WORDS[scored.figures.split]


def name_model(scored: Scored) -> str:
    """Return in words which model stands for the run."""
    if len(scored.figures.models) == 1:  # whatever it is called
        return "the model"
    if scored.name == ENSEMBLE_NAME:
        return f"the ensemble of {len(scored.figures.models) - 1} models"
    if scored.name == POOLED_NAME:
        return "the models that were not trained on them"
    return "the model"


def describe_answer(summary: Summary) -> list[str]:
    """Return the result in sentences, the most important first; none if nothing is scored."""
    scored = summary.best
    if scored is None:
        return []
    metrics, found = scored.metrics, scored.estimates or {}
    of_data = f"{name_split(scored)} of {scored.figures.data}"
    sentences = [
        f"Of the {metrics.fn + metrics.tp} {of_data} that are labelled pneumonia, "
        f"{name_model(scored)} called "
        f"{metrics.tp} pneumonia (sensitivity {show_estimate(metrics.sensitivity, found, 'sensitivity')}); "
        f"of the {metrics.tn + metrics.fp} that are labelled normal, {metrics.tn} "
        f"{'was' if metrics.tn == 1 else 'were'} called normal "
        f"(specificity {show_estimate(metrics.specificity, found, 'specificity')}).",
        f"The area under the ROC curve is {show_estimate(metrics.roc_auc, found, 'roc_auc')}.",
    ]
    decision = scored.figures.decision
    if decision is None:
        return [*sentences, "No rule was fixed: an image is called pneumonia from a score of 0.5 on."]
    sentences.append(
        f"An image is called pneumonia from a score of {decision.threshold:.4f} on: "
        f"{describe_rule(decision)}."
    )
    return [*sentences, *describe_move(scored)]


def describe_head(settings: TrainConfig) -> str:
    """Return which layers stand behind the pooling, and what stands beside them."""
    head = f"{settings.head_units} hidden units, one logit" if settings.head_units else "one logit"
    if not settings.probe:
        return head
    return (
        f"{head}, averaged with that of a logistic regression (C {settings.probe:g}) on the channel means of "
        "the last frozen layer"
    )


def describe_loss(settings: TrainConfig) -> str:
    """Return what was minimised."""
    loss = "cross-entropy, the focal loss with gamma 0"
    if settings.focal_gamma:
        loss = f"focal loss (Lin et al. 2017, arXiv 1708.02002) with gamma {settings.focal_gamma:g}"
    return f"{loss}, both classes with half of the weight"


def describe_trained_on(settings: TrainConfig) -> str:
    """Return in words what the figures of training are of; changed images and dropout make them worse."""
    changes = ["augmented"] * bool(settings.views) + ["with dropout"] * bool(settings.dropout)
    return ", ".join(["trained on", *changes])


def describe_optimizer(settings: TrainConfig) -> str:
    """Return by which steps it was minimised."""
    tune = f"AdamW (weight decay {settings.weight_decay:g})" if settings.weight_decay else "Adam"
    rate = f"{settings.tune_learning_rate:g}"
    if settings.tune_schedule is Schedule.COSINE:
        rate += " falling as a cosine"
    return f"Adam at {settings.head_learning_rate:g} for the head, then {tune} at {rate}"


def describe_input(pixels: int, settings: TrainConfig) -> str:
    """Return what becomes of an image of that side before the network, up to two sentences."""
    side, seen = settings.resized, settings.image_size
    change = f" Then {'enlarged' if pixels < side else 'shrunk'} to {side} px." if pixels != side else ""
    return change + (f" Of these the network sees the middle {seen}." if seen < side else "")


def describe_rule(decision: Decision) -> str:
    """Return which rule chose the threshold, and on which scores; a number was given and not chosen."""
    if is_threshold(decision.rule):
        return f"given as {decision.rule}, and tried on {decision.images} {SOURCES[decision.source]}"
    return f"rule {decision.rule}, fixed on {decision.images} {SOURCES[decision.source]}"


def describe_move(scored: Scored) -> Iterator[str]:
    """Say how far the rule moved from the images that it was fixed on to these."""
    decision, moved = scored.figures.decision, scored.moved
    if decision is None:
        return
    if moved is None:
        yield (
            "These are the images that the rule was fixed on, so that sensitivity and specificity look "
            "better than they are on others."
        )
        return
    yield (
        f"On the {SOURCES[decision.source]} that the rule was fixed on, sensitivity was "
        f"{decision.sensitivity:.4f} and specificity {decision.specificity:.4f}: here they moved by "
        f"{moved[0]:+.4f} and {moved[1]:+.4f}."
    )


def name_worse(calibration: Calibration) -> str:
    """Return which figures the temperature makes worse, in words."""
    return " and ".join(RELIABILITY_TITLES[name].partition(",")[0] for name in calibration.worse)


def find_far_moves(scored: Scored) -> dict[str, float]:
    """Return how far sensitivity and specificity moved, where that is far and not by chance alone.

    That is, where the value at which the rule was fixed lies outside the 95 % interval of the one here. Where
    there are no intervals what is far is named.
    """
    decision, moved = scored.figures.decision, scored.moved
    if decision is None or moved is None:
        return {}
    found = {}
    for name, move in zip(("sensitivity", "specificity"), moved, strict=True):
        here = (scored.estimates or {}).get(name, Estimate())
        has_bounds = here.low is not None and here.high is not None
        is_chance = has_bounds and here.low <= getattr(decision, name) <= here.high
        if abs(move) > FAR and not is_chance:
            found[name] = move
    return found


def describe_seen(figures: Figures) -> str | None:
    """Say how many of the scored images the run was made with; None if it is none, or not known."""
    if not figures.seen:
        return None
    n = next(iter(figures.models.values())).n
    stand = "stands" if figures.seen == 1 else "stand"
    return (
        f"{figures.seen} of these {n} images {stand} among those that the run was trained or watched with, "
        "byte for byte: the figures may be too good"
    )


def describe_intervals(groups: int | None) -> str:
    """Say how intervals were found, and what they take as independent.

    Args:
        groups: of the images, such as patients; None where nothing is known of any.
    """
    if groups is None:
        return f"Wilson for counts, DeLong for AUC, bootstrap for the rest; {INDEPENDENT}"
    return (
        "Wilson by their design effect for counts, Obuchowski for AUC, bootstrap for the rest; "
        f"{groups} groups of images, such as patients, taken as independent, and not each image"
    )


def show_estimate(value: float, found: Mapping[str, Estimate], figure: str) -> str:
    """Return a figure with its interval, where there is one."""
    estimate = found.get(figure)
    if estimate is None or estimate.low is None or estimate.high is None:
        return f"{value:.4f}"
    return f"{value:.4f}, 95 % interval {estimate.low:.4f} to {estimate.high:.4f}"


def describe_attribution(summary: Summary) -> str:
    """Return whose data these are, as far as it is known."""
    if summary.run.synthetic:
        return "The images are drawn by pneumocli. They are nobody's X-rays and say nothing about real ones."
    if summary.is_medmnist:
        return MEDMNIST
    if summary.kind is Kind.OWN:
        return (
            "These are the user's own image files: whose they are, under which terms, and who labelled them, "
            "the user must say."
        )
    return (
        "The images are not known. If they are PneumoniaMNIST's at another size, or made from it: "
        f"{MEDMNIST} Else the user must say whose they are."
    )


def describe_groups(summary: Summary) -> list[str]:
    """Return what is known of near duplicates and of images that belong together."""
    data, groups = summary.run.record.data, summary.run.record.groups
    sentences = [
        f"Two images are near duplicates if the correlation of their pixels is above {NEAR_CORRELATION:g}; "
        "a shifted, turned or mirrored copy is not seen."
    ]
    if groups is None:
        sentences.append("A single model has no folds, so that nothing had to be kept together.")
    else:
        sentences.append(
            f"{groups.groups} groups of more than one training image ({groups.images} images) stayed in one "
            "fold each."
            if groups.groups
            else "No training image belongs with another: there was nothing to keep in one fold."
        )
        sentences.append(
            "The user named no groups: images of one patient may be in different folds."
            if groups.named_in is None
            else f"The user named groups in {groups.named_in}"
            f"{'' if groups.file is None else f' (SHA-256 {groups.file.sha256})'}; where they overlap with "
            "near duplicates they became one."
        )
    val = summary.scored.get("val")
    if val is not None:
        copies = val.metrics.n - data.stopping_images
        sentences.append(
            f"Of {val.metrics.n} validation images {copies} have a copy or near duplicate in train; training "
            "was not watched by these."
        )
    if summary.kind is Kind.OFFICIAL:
        sentences.append(
            "Known of the official images at 28 px: train has 18 pairs of byte-equal images, 8 validation "
            "images have a copy in train, and no test image has one in train or val."
        )
    return sentences
