"""What the guidelines ask of what a study found: evaluation, results, discussion, and where all of it is."""

from collections.abc import Iterator

from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.summary import Summary
from pneumocli.report.item import Item, make_item
from pneumocli.report.words import describe_intervals, name_model, name_split, show_estimate


def list_evaluation(summary: Summary) -> Iterator[Item]:
    """How it was evaluated, and on what."""
    external = ", ".join(f"{scored.figures.data} ({scored.figures.split})" for scored in summary.external)
    yield make_item(
        "28",
        "12e",
        "Which measures and plots",
        "AUC, accuracy, F1, sensitivity, specificity, predictive values, average precision, Brier score, "
        "calibration error; ROC curve and reliability.",
        "what a wrong call costs, and so what use it is",
    )
    groups = None if summary.best is None else summary.best.figures.groups
    yield make_item(
        "29",
        "",
        "How uncertainty was measured",
        f"95 % intervals: {describe_intervals(groups)}.",
    )
    yield make_item(
        "30",
        "12d",
        "Whether figures hold under other conditions and in other places",
        _show_spread(summary),
        "figures under other conditions and in other places",
    )
    yield make_item(
        "31",
        "",
        "How the model's reasons are shown, and whether that is valid",
        "",
        "no such method is part of these figures",
    )
    own = ", ".join(name_split(scored) for scored in summary.scored.values())
    yield make_item(
        "32",
        "12g",
        "Evaluation on data of the same source, and how scores were computed",
        f"Scored: {own}; pneumocli evaluate, in float32." if own else "",
    )
    yield make_item(
        "33",
        "",
        "Evaluation on data of another source",
        f"Scored: {external}." if external else "",
        "" if external else "no other data were scored",
    )
    yield make_item(
        "",
        "12f 24",
        "Whether the model was changed after it was evaluated",
        "It was not: threshold and temperature come from before.",
    )
    yield make_item(
        "",
        "16",
        "How data for making and for evaluating it differ",
        _show_difference(summary),
        "in setting and choice of patients",
    )
    yield make_item("34", "18d", "Registration, as of a trial")


def _show_spread(summary: Summary) -> str:
    scored = summary.scored.get(OUT_OF_FOLD)
    folds = None if scored is None else scored.figures.folds_at_rule or scored.figures.folds
    if folds is None:
        return ""
    return f"Over the folds the AUC has mean {folds['roc_auc']['mean']:.4f}, sd {folds['roc_auc']['sd']:.4f}."


def _show_difference(summary: Summary) -> str:
    if not summary.scored:
        return ""
    shares = (
        f"{name_split(scored)} {100 * (scored.metrics.fn + scored.metrics.tp) / scored.metrics.n:.1f} %"
        for scored in summary.scored.values()
    )
    return f"Share of pneumonia: {', '.join(shares)}."


def list_results(summary: Summary) -> Iterator[Item]:
    """What came out."""
    best = summary.best
    counts = "; ".join(
        f"{name_split(scored)} {scored.metrics.tn + scored.metrics.fp} normal, "
        f"{scored.metrics.fn + scored.metrics.tp} pneumonia"
        for scored in summary.scored.values()
    )
    images = f"Images: {counts}." if counts else ""
    yield make_item(
        "35",
        "20a 21",
        "How many were taken in and left out, with and without the finding",
        images,
        "how many patients",
    )
    yield make_item("36", "20b 20c", "Who the patients are, part by part")
    figures = ""
    if best is not None:
        found, metrics = best.estimates or {}, best.metrics
        figures = (
            f"{name_split(best).capitalize()}, {name_model(best)}: AUC "
            f"{show_estimate(metrics.roc_auc, found, 'roc_auc')}; sensitivity "
            f"{show_estimate(metrics.sensitivity, found, 'sensitivity')}; specificity "
            f"{show_estimate(metrics.specificity, found, 'specificity')}."
        )
    yield make_item(
        "37 38", "23a", "Figures with their uncertainty", figures, "figures of groups of patients"
    )
    yield make_item("", "23b", "How figures differ from place to place", "", "the run knows no places")
    wrong = (
        ""
        if best is None
        else f"{best.metrics.fp} normal and {best.metrics.fn} pneumonia images are called wrong."
    )
    yield make_item("39", "", "What went wrong, and where", wrong, "what these images have in common")


def list_discussion() -> Iterator[Item]:
    """What it means, and for whom."""
    yield make_item("", "25", "What the results mean beside earlier ones")
    yield make_item("40", "26", "What limits the results", "Listed under limits.", "what else is known")
    yield make_item("41", "", "What follows for practice", "Nothing: not for clinical use.")
    yield make_item(
        "",
        "27a",
        "What is done with poor or missing input",
        "A file that cannot be read gets no answer; one unlike those trained on is flagged, or refused with "
        "--strict; beyond that quality is not judged.",
        "how it is to be judged",
    )
    yield make_item(
        "",
        "27b",
        "What users have to do and to know",
        "They name image files on a command line.",
        "what they must know of X-rays",
    )
    yield make_item("", "27c", "What comes next")


def list_open_science(summary: Summary) -> Iterator[Item]:
    """Where protocol, data and code are, who paid and who approved."""
    yield make_item(
        "42", "18c", "Where the protocol and more detail are", "", "the settings of the run are here"
    )
    free = "PneumoniaMNIST is public (zenodo.org/records/10519652)." if summary.is_medmnist else ""
    yield make_item(
        "43",
        "18e 18f 22",
        "Where data, code and the model can be had",
        f"{free} Code: pneumocli, MIT licence. Model: the .keras files of the run folder.".strip(),
        "where these are",
    )
    yield make_item("44", "18a", "Who paid, and what part they had")
    yield make_item("", "17", "Who approved the study, and how patients agreed")
    yield make_item("", "18b", "What interests the authors have")
    yield make_item("", "19", "What part patients and the public had")
