"""What the commands that score have in common: from a run and their options to the images to score."""

from pathlib import Path

from pneumocli.commands.options import SplitName
from pneumocli.core.data import Dataset
from pneumocli.core.errors import DataError
from pneumocli.core.fetch import SYNTHETIC
from pneumocli.core.identity import Kind, is_official_split, read_kind
from pneumocli.core.inputs import add_groups, choose_scored, gather_data
from pneumocli.core.official import read_named
from pneumocli.core.progress import Listener
from pneumocli.core.resume import read_inputs
from pneumocli.core.runs import Run
from pneumocli.report.terminal import say


def complete_folds(run: Run, listen: Listener, quiet: bool) -> Dataset:
    """Complete a run whose folds were trained by commands of their own, and return its data.

    Raises:
        PneumoError: folds are missing, or the data that the run was begun with are not found.
    """
    from pneumocli.core.experiments import complete_run
    from pneumocli.core.sharing import check_folds

    def notify(line: str) -> None:
        say(line, quiet)

    check_folds(run)
    begun_with = read_inputs(run)
    named = SYNTHETIC if run.synthetic else begun_with.data
    seed = run.record.settings.seed
    data = gather_data(named, run.record.data.pixels, seed=seed, listen=listen, notify=notify)
    if begun_with.groups is not None:
        data = add_groups(data, Path(begun_with.groups))
    complete_run(run, data)
    return data.dataset


def check_named(run: Run, data: str | None) -> None:
    """Refuse to take the official images for a run on own ones, which does not keep where these lie.

    Raises:
        DataError: no images are named.
    """
    is_named = data is not None or read_named("PNEUMOCLI_DATA") is not None
    if read_kind(run.record.data.identity) is Kind.OWN and not is_named:
        raise DataError(
            f"{run.path} was trained on own images, {run.record.data.name}; name those to score with --data"
        )


def gather_split_data(
    run: Run,
    data: str | None,
    size: int | None,
    split: SplitName | None,
    force: bool,
    listen: Listener,
    quiet: bool,
) -> tuple[Dataset, str]:
    """Find the images to score a run on, and the split; a run on drawn images is scored on drawn images.

    Says on stderr what is scored, and whether train and val are those that the run was trained on; of its
    test split it knows nothing.
    """

    def notify(line: str) -> None:
        say(line, quiet)

    if data is None and run.synthetic:
        data = SYNTHETIC
    check_named(run, data)
    pixels = run.record.data.pixels if size is None else size
    found = gather_data(data, pixels, seed=None, listen=listen, notify=notify)
    dataset, chosen = choose_scored(
        found, run, None if split is None else split.value, force=force, notify=say
    )
    if not run.owns(dataset):
        trained_on = run.record.data.name
        notify(
            f"{dataset.name} is not the data set that {run.name} was trained on ({trained_on}): "
            "external validation, which holds if they have no images or patients in common"
        )
    if is_official_split(dataset, chosen) and not dataset.is_official_file:
        notify(
            f"{dataset.name} has PneumoniaMNIST's {chosen} images and is not the official file: MedMNIST's "
            "own reader takes the result file's rows to be in that file's order"
        )
    notify(f"scored on: {chosen} images of {dataset.name}")
    return dataset, chosen
