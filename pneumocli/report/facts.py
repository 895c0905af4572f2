"""What a report shows of a run beside its figures, in tables, which know neither HTML nor Markdown."""

from dataclasses import dataclass

from pneumocli.core.config import RECIPES, TrainConfig
from pneumocli.core.images import describe_preparation
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.summary import Summary
from pneumocli.report.words import describe_folds, name_split


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
        Row("kind", ("single model" if record.folds is None else describe_folds(record),)),
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
