"""What a run is going to do, as Rich tables."""

from rich.table import Table
from rich.text import Text

from pneumocli.core.config import RECIPES
from pneumocli.core.forecast import Forecast
from pneumocli.core.plan import Plan
from pneumocli.core.wording import show_plain
from pneumocli.report.tables import start_table

UNKNOWN_TIME = "not known yet; told after the first batches"


def tabulate_forecast(found: Forecast) -> list[Table]:
    """Return a table of what is going to be done, and for a cross-validation one of its folds."""
    plan = found.plan
    mark = "SYNTHETIC " if found.data.synthetic else ""
    main = start_table(f"{mark}plan of {plan.kind}; nothing is trained or written", ["", ""])
    main.show_header = False
    main.columns[1].justify, main.columns[1].overflow, main.columns[1].no_wrap = "left", "fold", False
    name = "" if found.data.synthetic else f"{found.data.name}: "
    main.add_row("data", Text(show_plain(f"{name}{found.data.identity}")))
    main.add_row("train", _tell_classes(plan, "train"))
    main.add_row("validation", f"{_tell_classes(plan, 'stopping')}, none like one in train")
    main.add_row("weights", Text(show_plain(found.weights)))
    main.add_row("recipe", Text(show_plain(_tell_recipe(plan))))
    main.add_row("precision", f"{plan.precision.value} in training, float32 in scoring")
    main.add_section()
    for phase in plan.phases:
        most = "at most " if phase.may_stop_early else ""
        trains = f"the last {phase.layers} layers" if phase.layers else "the head alone"
        epochs = "1 epoch" if phase.epochs == 1 else f"{phase.epochs} epochs"
        main.add_row(f"phase {phase.name}", f"{trains}, {most}{epochs}")
    views = plan.config.views
    main.add_row("images", f"{views} augmented views of each" if views else "as they are")
    if plan.jobs > 1:
        main.add_row("side by side", f"{plan.jobs} folds")
    if found.takes_up is not None:
        done = [str(fold.fold) for fold in plan.folds if fold.is_finished]
        what = f"finished folds: {', '.join(done)}" if done else "nothing finished"
        main.add_row("goes on with", Text(show_plain(f"{found.takes_up}, {what}")))
    main.add_section()
    if found.cache is not None and found.cache_limit is not None and found.cache_free is not None:
        kept = f" ({_tell_bytes(plan.kept_bytes)} of them seem to be there)" if plan.kept_bytes else ""
        main.add_row("features", f"{_tell_bytes(plan.feature_bytes)} on disk behind {plan.cut}{kept}")
        limit = "no limit" if found.cache_limit > 1e15 else f"at most {_tell_bytes(found.cache_limit)}"
        enough = "" if plan.feature_bytes - plan.kept_bytes <= found.cache_free else ": too little room"
        main.add_row(
            "cache", Text(show_plain(f"{found.cache}, {limit}, {_tell_bytes(found.cache_free)} free{enough}"))
        )
    else:
        main.add_row("features", "not kept: computed again in each epoch")
    main.add_row("models", f"{_tell_bytes(plan.model_bytes)} on disk")
    main.add_row("runs", Text(show_plain(f"{found.runs}, {_tell_bytes(found.runs_free)} free")))
    memory = "not known yet" if found.memory is None else f"{_tell_bytes(found.memory)} in an earlier run"
    main.add_row("own memory", f"{memory}; images: {_tell_bytes(plan.data_bytes)}")
    main.add_row("time", UNKNOWN_TIME if found.time is None else f"{found.time}, by earlier runs here")
    return [main, _tabulate_folds(plan)] if plan.folds else [main]


def _tabulate_folds(plan: Plan) -> Table:
    counted = ["trained on", "normal", "pneumonia", "held out", "normal", "pneumonia"]
    table = start_table("folds", ["fold", *counted])
    for fold in plan.folds:
        trained, held_out = (
            (fold.train_normal, fold.train_pneumonia),
            (fold.held_out_normal, fold.held_out_pneumonia),
        )
        counts = [str(n) for part in (trained, held_out) for n in (sum(part), *part)]
        state = ", finished" if fold.is_finished else "" if fold.is_ours else ", not now"
        table.add_row(f"{fold.fold}{state}", *counts)
    return table


def _tell_classes(plan: Plan, split: str) -> str:
    normal, pneumonia = plan.splits[split]
    return f"{normal + pneumonia} images: {normal} normal, {pneumonia} pneumonia"


def _tell_recipe(plan: Plan) -> str:
    config = plan.config
    recipe = RECIPES.get(config.recipe)
    if recipe is None:
        return config.recipe
    changed = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in config.model_dump(mode="json").items()
        if value != recipe.model_dump(mode="json")[name]
    ]
    return " ".join([config.recipe, *changed])


def _tell_bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"
