"""What a report shows of a run's figures in tables, which know neither HTML nor Markdown."""

from collections.abc import Mapping

from pneumocli.core.figures import Figures
from pneumocli.core.metrics import FIGURES, Metrics
from pneumocli.core.summary import Scored
from pneumocli.core.uncertainty import Estimate
from pneumocli.report.facts import Row, Table
from pneumocli.report.figures import (
    ESTIMATE_TITLES,
    FIGURE_TITLES,
    NO_INTERVAL,
    show_bounds,
)
from pneumocli.report.tables import SOURCES
from pneumocli.report.words import (
    FAR,
    RELIABILITY_TITLES,
    describe_intervals,
    find_far_moves,
    name_split,
    name_worse,
    show_estimate,
)


def tabulate_best(scored: Scored) -> Table:
    """Return the figures with their intervals and counts."""
    rows = []
    note = ""
    for figure, shown in ESTIMATE_TITLES.items():
        if scored.estimates is not None:
            estimate = scored.estimates[figure]
        elif figure in FIGURES:
            estimate = Estimate(getattr(scored.metrics, figure))
        else:
            continue
        if estimate.low is None and scored.estimates is not None:
            note = f" {NO_INTERVAL[0].upper()}{NO_INTERVAL[1:]}."
        value = "-" if estimate.value is None else f"{estimate.value:.4f}"
        counts = "" if estimate.of is None else f"{estimate.hits} of {estimate.of}"
        rows.append(Row(shown, (value, show_bounds(estimate.low, estimate.high), counts)))
    return Table(
        f"{scored.metrics.n} {name_split(scored)} of {scored.figures.data}, {scored.name} at "
        f"{scored.metrics.threshold:.4f}",
        "figure",
        ("value", "95 % interval", "images"),
        tuple(rows),
        note=f"Intervals: {describe_intervals(scored.figures.groups)}. They are of other images drawn like "
        f"these.{note}",
    )


def tabulate_move(scored: Scored) -> Table | None:
    """Return sensitivity and specificity where the rule was fixed and here; None if that is the same."""
    decision, moved = scored.figures.decision, scored.moved
    if decision is None or moved is None:
        return None
    names, far = ("sensitivity", "specificity"), find_far_moves(scored)
    rows = tuple(
        Row(
            name,
            (f"{getattr(decision, name):.4f}", f"{getattr(scored.metrics, name):.4f}", f"{move:+.4f}"),
            is_marked=name in far,
        )
        for name, move in zip(names, moved, strict=True)
    )
    return Table(
        "What moved",
        "figure",
        ("where the rule was fixed", "here", "moved"),
        rows,
        note=f"Fixed on {decision.images} {SOURCES[decision.source]} of {decision.data}. A rule keeps its "
        f"word on images like its own; a move of more than {FAR:g} is marked where chance alone (95 % "
        "intervals) does not explain it.",
    )


def tabulate_prevalence(scored: Scored) -> Table | None:
    """Return PPV and NPV where another share of the patients has pneumonia, if that was asked for."""
    values = (scored.figures.predictive_values_at_rule or scored.figures.predictive_values or {}).get(
        scored.name
    )
    if values is None or scored.figures.prevalence is None:
        return None
    rows = tuple(
        Row(ESTIMATE_TITLES[name], ("-" if value is None else f"{value:.4f}", show_bounds(low, high)))
        for name, value, low, high in (
            ("ppv", values.ppv, values.ppv_low, values.ppv_high),
            ("npv", values.npv, values.npv_low, values.npv_high),
        )
    )
    return Table(
        f"At a prevalence of {scored.figures.prevalence:g}",
        "figure",
        ("value", "95 % interval"),
        rows,
        note="By Bayes' theorem, sensitivity and specificity being taken to be those of these images.",
    )


def tabulate_confusion(models: Mapping[str, Metrics], best_single: str | None) -> Table:
    """Return counts of right and wrong calls, one model a row."""
    rows = tuple(
        Row(
            _name_row(name, best_single),
            (f"{found.threshold:.4f}", *(str(getattr(found, count)) for count in ("tn", "fp", "fn", "tp"))),
        )
        for name, found in models.items()
    )
    columns = ("threshold", "normal, called normal", "normal, called pneumonia")
    return Table(
        "Right and wrong calls",
        "model",
        (*columns, "pneumonia, called normal", "pneumonia, called pneumonia"),
        rows,
    )


def tabulate_models(
    title: str,
    models: Mapping[str, Metrics],
    best_single: str | None,
    folds: Mapping[str, Mapping[str, float]] | None = None,
) -> Table:
    """Return figures, one model a row; with mean and standard deviation over the folds if given."""
    rows = [
        Row(_name_row(name, best_single), tuple(f"{getattr(found, figure):.4f}" for figure in FIGURES))
        for name, found in models.items()
    ]
    if folds is not None:
        for key, shown in (("mean", "mean of folds"), ("sd", "sd of folds")):
            cells = tuple(f"{folds[figure][key]:.4f}" for figure in FIGURES)
            rows.append(Row(shown, cells))
    note = "The standard deviation (sd) tells how folds differ; it is no interval." if folds else ""
    return Table(title, "model", tuple(FIGURE_TITLES[figure] for figure in FIGURES), tuple(rows), note=note)


def _name_row(name: str, best_single: str | None) -> str:
    return f"{name} (best single)" if name == best_single else name


def tabulate_folds(figures: Figures) -> list[Table]:
    """Return each fold's figures at 0.5 and at the rule's threshold."""
    tables = [tabulate_models("At a threshold of 0.5", figures.models, figures.best_single, figures.folds)]
    if figures.decision is not None and figures.at_rule is not None:
        title = f"At the rule's threshold of {figures.decision.threshold:.4f}"
        tables.append(tabulate_models(title, figures.at_rule, figures.best_single, figures.folds_at_rule))
    return tables


def tabulate_calibration(scored: Scored) -> Table | None:
    """Return how far probabilities are from the truth, before and after the temperature."""
    found, decision = scored.figures.calibration, scored.figures.decision
    if found is None or decision is None:
        return None
    note = (
        f"Lower is better. After: logits divided by the temperature {found.temperature:.3f}, fitted on "
        f"{decision.images} {SOURCES[decision.source]}."
    )
    if found.worse:
        note += f" On these images it makes the probabilities worse: {name_worse(found)}."
    rows = tuple(
        Row(
            shown,
            (f"{getattr(found.before, name):.4f}", f"{getattr(found.after, name):.4f}"),
            is_marked=name in found.worse,
        )
        for name, shown in RELIABILITY_TITLES.items()
    )
    return Table(f"{name_split(scored).capitalize()}", "figure", ("before", "after"), rows, note=note)


def tabulate_external(external: tuple[Scored, ...]) -> Table | None:
    """Return the figures on other data, one data set a row; None if there are none."""
    if not external:
        return None
    rows = []
    for scored in external:
        found, moved = scored.estimates or {}, scored.moved or (0.0, 0.0)
        rows.append(
            Row(
                f"{scored.figures.data}, {scored.figures.split}, at {scored.metrics.threshold:.4f}",
                (
                    str(scored.metrics.n),
                    "-" if scored.figures.groups is None else str(scored.figures.groups),
                    *(
                        show_estimate(getattr(scored.metrics, name), found, name).replace(
                            "95 % interval ", ""
                        )
                        for name in ("roc_auc", "sensitivity", "specificity")
                    ),
                    f"{moved[0]:+.4f}",
                    f"{moved[1]:+.4f}",
                ),
            )
        )
    return Table(
        "Other data, the same models",
        "data",
        (
            "images",
            "groups",
            "AUC-ROC",
            "sensitivity",
            "specificity",
            "sensitivity moved",
            "specificity moved",
        ),
        tuple(rows),
        note="With 95 % intervals, of the groups (such as patients) where the data name them, else of the "
        "images. Images that the run was made with are counted where they have the same "
        "bytes; that these data hold no others, and no patients of those, is for the user to see to.",
    )
