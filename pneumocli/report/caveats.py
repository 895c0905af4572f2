"""What a run cannot say, in sentences."""

from pneumocli.core.groups import NEAR_CORRELATION
from pneumocli.core.identity import Kind
from pneumocli.core.summary import Summary
from pneumocli.report.words import describe_seen, find_far_moves, name_split, name_worse


def list_limits(summary: Summary) -> list[str]:
    """Return what the run cannot say, as facts of this run where they are."""
    record, best = summary.run.record, summary.best
    limits = []
    if summary.run.synthetic:
        limits.append("All images are drawn: nothing here says anything about real X-rays.")
    if summary.is_medmnist:
        limits += [
            "The data are of children of one to five years from one hospital; nothing is known of other "
            "patients.",
            "The data set does not say which images are of one child: folds, train and validation share "
            "children.",
            "Test images come from another draw of patients than train and validation: figures on validation "
            "and out-of-fold images say little about them.",
        ]
    if summary.kind is Kind.KAGGLE:
        limits.append("This copy of the data has lost 826 of 1214 normal training images.")
    if record.settings.subset is not None:
        limits.append(f"Trained on {record.data.train_images} images only, a subset.")
    if record.weights.sha256 is None:
        limits.append("The network began with random weights, not with pretrained ones.")
    if best is None or best.figures.split != "test":
        limits.append("No test images were scored: how the run does on images from elsewhere is not known.")
    if record.data.conflicts:
        limits.append(
            f"{record.data.conflicts} of the images of train and val stand there more than once, byte for "
            "byte, with differing labels: of each one label is wrong."
        )
    for scored in (*filter(None, (best,)), *summary.external):
        if seen := describe_seen(scored.figures):
            limits.append(f"{scored.figures.data}, {name_split(scored)}: {seen}.")
    if best is not None:
        limits += [
            f"The rule did not keep its {name} on the {name_split(best)}: it moved by {move:+.4f}."
            for name, move in find_far_moves(best).items()
        ]
    if best is not None and best.figures.calibration is not None and best.figures.calibration.worse:
        limits.append(
            f"The temperature makes the probabilities of the {name_split(best)} worse by "
            f"{name_worse(best.figures.calibration)}."
        )
    if summary.decision is not None and summary.decision.source == "val":
        also = ", which also said when training stops" if record.settings.early_stopping else ""
        limits.append(
            f"Threshold and temperature were fixed on the validation images{also}: on these they look better "
            "than they are."
        )
    if not summary.external:
        limits.append("No data from elsewhere were scored.")
    if any(scored.figures.groups is None for scored in (*filter(None, (best,)), *summary.external)):
        limits.append(
            "Where the data name no groups, the intervals take each image as independent of the rest: where "
            "several are of one patient they are too narrow."
        )
    limits += [
        f"This is one run of one seed ({record.settings.seed}); the intervals say nothing of other "
        "seeds, nor of another hospital's images.",
        "Nothing is known of age, sex or other groups of patients: the run has no figures by group.",
        f"Near duplicates are found by the correlation of pixels (above {NEAR_CORRELATION:g}) alone.",
    ]
    return limits
