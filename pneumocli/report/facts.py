"""What a report shows of a run in tables, which know neither HTML nor Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass

from pneumocli.core.config import RECIPES, TrainConfig
from pneumocli.core.figures import Figures
from pneumocli.core.images import describe_preparation
from pneumocli.core.metrics import FIGURES, Metrics
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.summary import Scored, Summary
from pneumocli.core.uncertainty import Estimate
from pneumocli.report.figures import ESTIMATE_TITLES, FIGURE_TITLES, RELIABILITY_TITLES
from pneumocli.report.tables import SOURCES
from pneumocli.report.words import FAR, name_split, show_estimate


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is about, then one cell a column; a marked one is shown as such."""

    head: str
    cells: tuple[str, ...]
    is_marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table: columns without the first one's, which holds the rows' heads.

    Attributes:
        first: the title of the first column.
        holds_words: whether the cells are text, to be read from the left, and not numbers.
        note: what is to be known for reading it.
    """

    title: str
    first: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    holds_words: bool = False
    note: str = ""


def tabulate_best(scored: Scored) -> Table:
    """Return the figures with their intervals and counts."""
    rows = []
    for figure, shown in ESTIMATE_TITLES.items():
        if scored.estimates is not None:
            estimate = scored.estimates[figure]
        elif figure in FIGURES:
            estimate = Estimate(getattr(scored.metrics, figure))
        else:
            continue
        bounds = "-" if estimate.low is None else f"{estimate.low:.4f} to {estimate.high:.4f}"
        value = "-" if estimate.value is None else f"{estimate.value:.4f}"
        counts = "" if estimate.of is None else f"{estimate.hits} of {estimate.of}"
        rows.append(Row(shown, (value, bounds, counts)))
    return Table(
        f"{scored.metrics.n} {name_split(scored)} of {scored.figures.data}, {scored.name} at "
        f"{scored.metrics.threshold:.4f}",
        "figure",
        ("value", "95 % interval", "images"),
        tuple(rows),
        note="Intervals: Wilson for counts, DeLong for the AUC, a stratified bootstrap for the "
        "rest. They are "
        "about these images only.",
    )


def tabulate_move(scored: Scored) -> Table | None:
    """Return sensitivity and specificity where the rule was fixed and here; None if that is the same."""
    decision, moved = scored.figures.decision, scored.moved
    if decision is None or moved is None:
        return None
    names = ("sensitivity", "specificity")
    rows = tuple(
        Row(
            name,
            (f"{getattr(decision, name):.4f}", f"{getattr(scored.metrics, name):.4f}", f"{move:+.4f}"),
            is_marked=abs(move) > FAR,
        )
        for name, move in zip(names, moved, strict=True)
    )
    return Table(
        "What moved",
        "figure",
        ("where the rule was fixed", "here", "moved"),
        rows,
        note=f"Fixed on {decision.images} {SOURCES[decision.source]} of {decision.data}. A rule keeps its "
        f"word on images like its own; a move of more than {FAR:g} is marked.",
    )


def tabulate_prevalence(scored: Scored) -> Table | None:
    """Return PPV and NPV where another share of the patients has pneumonia, if that was asked for."""
    values = (scored.figures.predictive_values_at_rule or scored.figures.predictive_values or {}).get(
        scored.name
    )
    if values is None or scored.figures.prevalence is None:
        return None
    rows = tuple(
        Row(shown, ("-" if value is None else f"{value:.4f}",))
        for shown, value in ((ESTIMATE_TITLES["ppv"], values.ppv), (ESTIMATE_TITLES["npv"], values.npv))
    )
    return Table(
        f"At a prevalence of {scored.figures.prevalence:g}",
        "figure",
        ("value",),
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
            rows.append(Row(shown, cells, is_marked=True))
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
        worse = " and ".join(RELIABILITY_TITLES[name].partition(",")[0] for name in found.worse)
        note += f" On these images it makes the probabilities worse: {worse}."
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
                f"{scored.figures.data}, {scored.figures.split}",
                (
                    str(scored.metrics.n),
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
        "Other data, the same models and threshold",
        "data",
        ("images", "AUC-ROC", "sensitivity", "specificity", "sensitivity moved", "specificity moved"),
        tuple(rows),
        note="With 95 % intervals. That these data hold no images or patients of those trained on is for "
        "the user to see to.",
    )


def tabulate_data(summary: Summary) -> Table:
    """Return what is known of the data."""
    data, settings = summary.run.record.data, summary.run.record.settings
    rows = [
        Row("name", (data.name,)),
        Row("what it is, by the images of train and val", (data.identity,)),
        Row("side of the images", (f"{data.pixels} px",)),
        Row("images trained on", (str(data.train_images),)),
    ]
    if settings.subset is not None:
        rows.append(
            Row("subset", (f"drawn by seed {settings.seed}, stratified: --subset {settings.subset}",))
        )
    rows.append(Row("validation images without a copy in train", (str(data.stopping_images),)))
    for scored in summary.scored.values():
        counts = f"{scored.metrics.n}: {scored.metrics.tn + scored.metrics.fp} normal, "
        counts += f"{scored.metrics.fn + scored.metrics.tp} pneumonia"
        rows.append(Row(f"{name_split(scored)} scored", (counts,)))
    rows.append(Row("how image files become pixels", (describe_preparation(data.pixels),)))
    return Table("The data", "fact", ("",), tuple(rows), holds_words=True)


def tabulate_settings(summary: Summary) -> Table:
    """Return every setting, those that differ from the recipe marked."""
    settings = summary.run.record.settings
    recipe = RECIPES.get(settings.recipe)
    rows = []
    for name, field in TrainConfig.model_fields.items():
        value, in_recipe = getattr(settings, name), getattr(recipe, name, None)
        is_changed = recipe is not None and value != in_recipe
        rows.append(
            Row(
                name,
                (
                    _show_setting(value),
                    _show_setting(in_recipe) if recipe is not None else "-",
                    field.description or "preset that the settings start from",
                ),
                is_changed,
            )
        )
    changed = sum(row.is_marked for row in rows)
    note = (
        f"{changed} settings differ from recipe {settings.recipe} and are marked."
        if recipe is not None
        else f"Recipe {settings.recipe} is not known to this version of pneumocli."
    )
    columns = ("this run", "recipe", "what it is")
    return Table("All settings", "setting", columns, tuple(rows), holds_words=True, note=note)


def _show_setting(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "all" if value is None else f"{value}"


def tabulate_courses(summary: Summary) -> Table | None:
    """Return how training went, one model a row; None if no history can be read."""
    if not summary.courses:
        return None

    def show(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    rows = tuple(
        Row(
            name,
            (
                str(course.head_epochs),
                str(course.tune_epochs),
                "end of the head phase" if course.epoch == 0 else f"{course.phase} {course.epoch}",
                show(course.loss),
                show(course.val_loss),
                show(course.val_auc),
            ),
        )
        for name, course in summary.courses.items()
    )
    columns = (
        "head epochs",
        "tuning epochs",
        "kept epoch",
        "loss there",
        "validation loss",
        "validation AUC",
    )
    return Table(
        "How training went",
        "model",
        columns,
        rows,
        note="Validation figures are of the images without a copy in train."
        if summary.run.record.settings.early_stopping
        else "The last epoch is kept; the validation images had no say in it.",
    )


def tabulate_origin(summary: Summary) -> Table:
    """Return versions, machine, seed and hashes."""
    record = summary.run.record
    rows = [
        Row("run", (summary.run.name,)),
        Row("kind", ("single model" if record.folds is None else f"{record.folds} stratified folds",)),
        Row("begun", (record.created,)),
        Row("seed", (str(record.settings.seed),)),
        Row("arithmetic of training", (f"{record.precision.value}; scores in float32",)),
        Row("data, SHA-256 of train and val", (record.data.digest,)),
    ]
    if record.groups is not None:
        rows.append(Row("groups, SHA-256", (record.groups.digest,)))
    rows += [
        Row("pretrained weights", (record.weights.name,)),
        Row("weights, SHA-256", (record.weights.sha256 or "none: they were drawn at random",)),
    ]
    rows += [
        Row(f"{name_split(scored)}, SHA-256", (scored.figures.data_digest,))
        for scored in summary.scored.values()
        if scored.figures.split != OUT_OF_FOLD
    ]
    rows += [Row(name, (value,)) for name, value in record.versions.items()]
    rows.append(Row("processor, memory, time taken", ("not kept with the run: the user must say",)))
    return Table("Where it comes from", "fact", ("",), tuple(rows), holds_words=True)
