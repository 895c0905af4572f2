"""The options that several commands share, each described once; settings speak through TrainConfig."""

import functools
import inspect
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pneumocli.commands.completing import complete_recipe, complete_run
from pneumocli.core.config import DEFAULT_RECIPE, RECIPES, TrainConfig
from pneumocli.core.workers import Backend


class Format(StrEnum):
    """How results are printed on stdout."""

    TABLE = "table"
    JSON = "json"


class RowFormat(StrEnum):
    """How answers, one an image, are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Engine(StrEnum):
    """What computes the answers."""

    AUTO = "auto"
    KERAS = "keras"
    ONNX = "onnx"


class SplitName(StrEnum):
    """The splits that a trained run can be scored on."""

    TEST = "test"
    VAL = "val"
    ALL = "all"


Data = Annotated[
    str | None,
    typer.Option(
        help="An .npz file, a folder or CSV of image files, or the word synthetic (drawn images). "
        "Else PNEUMOCLI_DATA, else the fetched file, else it is fetched.",
        show_default=False,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Side of the stored images: of the official file 28, 64, 128 or 224 px, of image files any.",
        metavar="PX",
        show_default="28; with --config, the run's",
    ),
]
ScoredSize = Annotated[
    int | None,
    typer.Option(
        help="Side of the stored images: which official file, or what image files are made into.",
        metavar="PX",
        show_default="the run's",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="imagenet, none (random), or an .h5 file. Else PNEUMOCLI_WEIGHTS, else imagenet.",
        show_default=False,
    ),
]
Groups = Annotated[
    Path | None,
    typer.Option(
        help="A CSV file, index,group: rows of train that stay in one fold, such as those of a patient.",
        metavar="FILE",
        show_default="near duplicates",
    ),
]
Runs = Annotated[
    Path,
    typer.Option(envvar="PNEUMOCLI_RUNS", help="Where the run folders are."),
]
Name = Annotated[str | None, typer.Option(help="The run's name.", show_default="counts up")]
Resume = Annotated[
    Path | None,
    typer.Option(
        help="Go on with this stopped run, a folder or a name: its settings, folds and files are its own.",
        metavar="RUN",
        show_default=False,
        autocompletion=complete_run,
    ),
]
Fold = Annotated[
    int | None,
    typer.Option(
        help="Train this fold alone, from 1, as one of several commands with the same --name on one file "
        "system; ensemble completes the run.",
        metavar="I",
        show_default="all folds",
    ),
]
On = Annotated[
    Backend,
    typer.Option(
        "--backend", help="Where the work is done: here, or on a Ray or Dask cluster that is there."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the cluster: HOST:6379 for Ray, tcp://HOST:8786 for Dask; else RAY_ADDRESS or "
        "DASK_SCHEDULER_ADDRESS.",
        metavar="ADDRESS",
        show_default=False,
    ),
]
KeepCache = Annotated[
    bool,
    typer.Option("--cache/--no-cache", help="Keep what the frozen layers compute; the results are the same."),
]
CacheLimit = Annotated[
    float, typer.Option(min=0.0, metavar="GB", help="Most that may be kept; what was used longest ago goes.")
]
OutputFormat = Annotated[Format, typer.Option("--format", help="What is printed on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Results, errors and the disclaimer only.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Go on with model files or a preparation of images that are not the run's own."
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help=f"Preset of all settings: {', '.join(RECIPES)}.",
        show_default=f"{DEFAULT_RECIPE}; with --config, as in the run",
        autocompletion=complete_recipe,
    ),
]
Repeat = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Repeat a run from its config.json: settings, folds and data. Options beside it win.",
        metavar="FILE",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would be done, on stdout, and stop; nothing is written."),
]
Split = Annotated[
    SplitName | None,
    typer.Option(help="Which images the figures are of.", show_default="test; all where the data have none"),
]


def takes_settings(*, hidden: Sequence[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes `recipe` and `settings` one option for every setting of TrainConfig.

    An option that is left out is None, which means "as in the recipe"; help and the default that is
    shown come from TrainConfig, so that there is one truth.

    Args:
        hidden: settings that the command refuses in words of its own, and that its help does not name.
    """
    return functools.partial(_add_settings, hidden=hidden)


def _add_settings(command: Callable[..., None], *, hidden: Sequence[str]) -> Callable[..., None]:
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]
    settings = [name for name in TrainConfig.model_fields if name != "recipe"]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_type_setting(name), _describe_setting(name, name in hidden)],
        )
        for name in settings
    ]

    @functools.wraps(command)
    def with_settings(**given: Any) -> None:
        command(settings={name: given.pop(name) for name in settings}, **given)

    with_settings.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    with_settings.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    return with_settings


def _type_setting(name: str) -> Any:
    annotation: Any = TrainConfig.model_fields[name].annotation
    # TrainConfig checks the word; its choices, spelled out, leave no room for the help.
    is_word = isinstance(annotation, type) and issubclass(annotation, StrEnum)
    return (str if is_word else annotation) | None


def _describe_setting(name: str, is_hidden: bool) -> Any:
    field = TrainConfig.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    value = getattr(RECIPES[DEFAULT_RECIPE], name)
    default = "all" if value is None else str(value)
    if field.annotation is bool:
        default = "on" if value else "off"
        flag = f"{flag}/--no-{flag[2:]}"
    return typer.Option(
        flag,
        help=field.description,
        show_default=default,
        hidden=is_hidden,
        rich_help_panel="Settings, if not as in the recipe",
    )
