"""Figures of a run, and of two runs compared, as Rich tables that keep every number at 80 columns."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from pneumocli.core.comparison import Comparison
from pneumocli.core.figures import ENSEMBLE_NAME, Figures
from pneumocli.core.metrics import FIGURES, Metrics
from pneumocli.core.wording import show_plain
from pneumocli.report.tables import SOURCES, start_table, write_caption
from pneumocli.report.words import (
    RELIABILITY_TITLES,
    describe_intervals,
    describe_rule,
    describe_seen,
    name_worse,
)

FIGURE_TITLES = {
    "roc_auc": "AUC-ROC",
    "accuracy": "accuracy",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}

ESTIMATE_TITLES = {
    **FIGURE_TITLES,
    "balanced_accuracy": "balanced accuracy",
    "ppv": "PPV, right among called pneumonia",
    "npv": "NPV, right among called normal",
    "average_precision": "average precision",
    "brier": "Brier score, lower is better",
}

NO_INTERVAL = "a dash: nothing to count, or too few errors or images to bound it"
NO_DIFFERENCE = "a dash: both call all images alike, or the images are too few to bound the difference"


def name_source(figures: Figures) -> str:
    """Return the run's name, marked if drawn images had a part in the figures."""
    return f"SYNTHETIC {figures.run}" if figures.synthetic else figures.run


def tabulate_figures(figures: Figures, names: Sequence[str] | None = None) -> list[Table]:
    """Return a table of figures and one of confusion matrices, one model a row.

    Both have the models at 0.5 and again at the threshold of the decision. The first ends with how far
    sensitivity and specificity moved from the images that the decision was fixed on to these, and on
    val with how far the ensemble's are from the mean of its members'.

    Args:
        names: which models, in this order; all by default.
    """
    names = list(figures.models) if names is None else list(names)
    title = f"{name_source(figures)}: {_name_split(figures)}"
    images = f"{figures.models[names[-1]].n} images of {figures.data}"
    main = start_table(f"{title}, {images}", ["", *FIGURE_TITLES.values()])
    counts = start_table(f"{title}, confusion matrix", ["", "images", "threshold", "TN", "FP", "FN", "TP"])
    counts.caption = "T right, F wrong; N called normal, P pneumonia"
    tables = (main, counts)
    decision, at_rule = figures.decision, figures.at_rule
    seen = describe_seen(figures)
    if decision is None or at_rule is None:
        _add_models(tables, figures, names, figures.models, figures.folds)
        return list(tables)
    if decision.threshold != 0.5:
        main.add_row("at 0.5")
        _add_models(tables, figures, names, figures.models, figures.folds)
        main.add_section()
        counts.add_section()
    main.add_row(f"at {decision.threshold:.4f}")
    _add_models(tables, figures, names, at_rule, figures.folds_at_rule)
    caption = f"{decision.threshold:.4f}: {describe_rule(decision)}"
    if not figures.fixed_here:
        main.add_section()
        for name in names:
            _add_move(main, f"{name}, moved", at_rule[name], decision.sensitivity, decision.specificity)
        caption += (
            f" (sensitivity {decision.sensitivity:.4f}, specificity {decision.specificity:.4f}); "
            "moved: how far from there"
        )
        if ENSEMBLE_NAME in names and figures.folds_at_rule is not None:
            mean = {name: values["mean"] for name, values in figures.folds_at_rule.items()}
            _add_move(
                main, "ensemble - mean", at_rule[ENSEMBLE_NAME], mean["sensitivity"], mean["specificity"]
            )
    main.caption = write_caption(f"{caption}. {seen}" if seen else caption)
    return list(tables)


def _add_models(
    tables: tuple[Table, Table],
    figures: Figures,
    names: Sequence[str],
    models: Mapping[str, Metrics],
    folds: Mapping[str, Mapping[str, float]] | None,
) -> None:
    main, counts = tables
    for name in names:
        metrics = models[name]
        shown = f"{name} (best single)" if name == figures.best_single else name
        main.add_row(Text(show_plain(shown)), *(f"{getattr(metrics, figure):.4f}" for figure in FIGURES))
        counts.add_row(
            Text(show_plain(shown)),
            str(metrics.n),
            f"{metrics.threshold:.4f}",
            *(str(count) for count in (metrics.tn, metrics.fp, metrics.fn, metrics.tp)),
        )
    if folds is not None:
        main.add_section()
        for key, shown in (("mean", "mean of folds"), ("sd", "sd of folds")):
            main.add_row(shown, *(f"{folds[figure][key]:.4f}" for figure in FIGURES))


def _add_move(table: Table, shown: str, here: Metrics, sensitivity: float, specificity: float) -> None:
    moves = (here.sensitivity - sensitivity, here.specificity - specificity)
    table.add_row(Text(shown), "", "", "", *(f"{move:+.4f}" for move in moves))


def tabulate_estimates(figures: Figures, name: str) -> Table:
    """Return a table of one model's figures with their 95 % intervals and counts, one figure a row.

    They are at the threshold of the decision, if there is one.

    Raises:
        KeyError: there are none of that model.
    """
    estimates = (figures.estimates_at_rule or figures.estimates or {})[name]
    threshold = 0.5 if figures.decision is None else figures.decision.threshold
    title = f"{name_source(figures)}: {_name_split(figures)}, {name} at {threshold:.4f}"
    table = start_table(f"{title}, with 95 % intervals", ["", "figure", "95 % interval", "images"])
    for figure, shown in ESTIMATE_TITLES.items():
        found = estimates[figure]
        bounds = show_bounds(found.low, found.high)
        table.add_row(
            shown, _show(found.value), bounds, "" if found.of is None else f"{found.hits}/{found.of}"
        )
    table.caption = describe_intervals(figures.groups)
    if any(found.low is None for found in estimates.values()):
        table.caption += f"\n{NO_INTERVAL}"
    return table


def tabulate_calibration(figures: Figures, name: str) -> Table:
    """Return a table of how far the probabilities of the run's model are from the truth.

    Args:
        name: of that model.

    Raises:
        ValueError: the figures have no calibration.
    """
    found, decision = figures.calibration, figures.decision
    if found is None or decision is None:
        raise ValueError(f"the {figures.split} figures of {figures.run} have no calibration")
    title = f"{name_source(figures)}: {_name_split(figures)}, {name}, calibration"
    table = start_table(title, ["lower is better", "before", "after"])
    for figure, shown in RELIABILITY_TITLES.items():
        table.add_row(shown, *(f"{getattr(each, figure):.4f}" for each in (found.before, found.after)))
    caption = (
        f"after: logits divided by the temperature {found.temperature:.3f}, fitted on "
        f"{decision.images} {SOURCES[decision.source]}"
    )
    if found.worse:
        caption += f". On these images it makes the probabilities worse: {name_worse(found)}"
    table.caption = write_caption(caption)
    return table


def tabulate_predictive_values(figures: Figures, names: Sequence[str]) -> Table:
    """Return a table of PPV and NPV at the prevalence that was asked for, at 0.5 and at the decision's.

    Args:
        names: which models, in this order.
    """
    title = f"{name_source(figures)}: {_name_split(figures)}, at a prevalence of {figures.prevalence:g}"
    table = start_table(title, ["", "threshold", "PPV", "95 % interval", "NPV", "95 % interval"])
    is_bounded = True
    for models, values in (
        (figures.models, figures.predictive_values),
        (figures.at_rule, figures.predictive_values_at_rule),
    ):
        if models is None or values is None:
            continue
        for name in names:
            found = values[name]
            is_bounded = is_bounded and found.ppv_low is not None
            table.add_row(
                Text(name),
                f"{models[name].threshold:.4f}",
                _show(found.ppv),
                show_bounds(found.ppv_low, found.ppv_high),
                _show(found.npv),
                show_bounds(found.npv_low, found.npv_high),
            )
        table.add_section()
    table.caption = "by Bayes' theorem, sensitivity and specificity being taken to be those of these images"
    if not is_bounded:
        table.caption += f"\n{NO_INTERVAL}"
    return table


def tabulate_comparison(found: Comparison) -> Table:
    """Return a table of two runs' figures and their difference, one figure a row."""
    mark = "SYNTHETIC " if found.synthetic else ""
    title = f"{mark}A: {found.first}, B: {found.second}; {found.split}, {found.n} images of {found.data}"
    table = start_table(title, ["", "A", "B", "B - A", "95 % interval", "p"])
    for figure, difference in found.differences.items():
        table.add_row(
            ESTIMATE_TITLES[figure].partition(",")[0],
            f"{difference.first:.4f}",
            f"{difference.second:.4f}",
            f"{difference.second - difference.first:+.4f}",
            show_bounds(difference.low, difference.high, "+.4f"),
            "" if difference.p_value is None else f"{difference.p_value:.2g}",
        )
    thresholds = (
        f"{letter} at {threshold:.4f}, rule {rule}"
        for letter, threshold, rule in zip("AB", found.thresholds, found.rules, strict=True)
    )
    tests = "DeLong for AUC, exact McNemar for accuracy"
    if found.groups is not None:
        tests = (
            "Obuchowski for AUC, exact McNemar of groups for accuracy, "
            f"{found.groups} groups of images taken as independent"
        )
    caption = (
        f"{'; '.join(thresholds)}. p: {tests}; intervals of the rest: paired bootstrap. All are of these two "
        "models on other images like these: another seed of the same recipe is another model"
    )
    if any(difference.low is None for difference in found.differences.values()):
        caption += f". {NO_DIFFERENCE[0].upper()}{NO_DIFFERENCE[1:]}"
    table.caption = write_caption(caption)
    return table


def _name_split(figures: Figures) -> str:
    return figures.split.replace("_", "-")


def show_bounds(low: float | None, high: float | None, form: str = ".4f") -> str:
    """Return an interval, or a dash where there is none."""
    return "-" if low is None or high is None else f"{low:{form}} to {high:{form}}"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
