"""`pneumocli predict`: probability and label for images."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from pneumocli.commands.completing import complete_run
from pneumocli.commands.options import Address, Engine, Force, On, Quiet, RowFormat, Runs
from pneumocli.core.progress import Notice
from pneumocli.core.workers import Backend, check_address

if TYPE_CHECKING:
    from pneumocli.core.engine import Engine as EngineName
    from pneumocli.core.images import Source

SOME_FAILED = 4


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Image files, folders of them, quoted patterns, or - for one image on standard input.",
            metavar="IMAGE",
            show_default=False,
        ),
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option(
            help="A list of files and folders, one path a line; - reads it from standard input.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A run, or a .keras or .onnx file of pneumocli.",
            show_default="the newest complete run",
            autocompletion=complete_run,
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            help="Draw into this new folder, for each image, where the model looked (Grad-CAM).",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(help="What computes: auto takes the run's ONNX file, if it has one that is its own."),
    ] = Engine.AUTO,
    strict: Annotated[
        bool, typer.Option("--strict", help="Do not answer for images unlike those trained on.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that answer side by side, each with the model; the cores are divided among them.",
            show_default="1; with --backend, one a worker",
        ),
    ] = None,
    backend: On = Backend.LOCAL,
    address: Address = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic", help="One thread a process: the same bytes with any --jobs and --backend."
        ),
    ] = False,
    runs: Runs = Path("runs"),
    force: Force = False,
    output_format: Annotated[
        RowFormat | None,
        typer.Option("--format", help="How answers are written.", show_default="by --output, else table"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="A file for the answers, written whole or not at all.",
            metavar="FILE",
            show_default="standard output",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Answer for X-ray images: the calibrated probability of pneumonia and the label by the model's rule.

    Reads PNG, JPEG, TIFF, BMP, WebP and DICOM. Exit code 0 if every image was answered, 4 if some were,
    1 if none was.
    """
    from pneumocli.core.finding import find_predictor
    from pneumocli.core.images import describe_preparation
    from pneumocli.report.explanations import add_explanation, close_explanations, open_explanations
    from pneumocli.report.formats import open_output, write_csv, write_document, write_jsonl
    from pneumocli.report.live import show_progress
    from pneumocli.report.tables import tabulate_predictions
    from pneumocli.report.terminal import print_tables, say, warn_use

    if not images and files_from is None:
        raise typer.BadParameter("name images, folders or patterns, or a list of them with --files-from")
    elsewhere = backend is not Backend.LOCAL or (jobs or 1) > 1
    if explain is not None and elsewhere:
        raise typer.BadParameter("--explain draws in one process; leave --jobs and --backend out")
    check_address(backend, address)
    shape = _choose_format(output_format, output)
    write = {RowFormat.JSON: write_document, RowFormat.JSONL: write_jsonl, RowFormat.CSV: write_csv}.get(
        shape
    )
    found = find_predictor(runs, model)

    def notify(line: str) -> None:
        say(line, quiet)

    sources = _list_sources(images or [], files_from, notify)
    explanations = None if explain is None else open_explanations(explain)
    # Opened before the progress bars, which put another file in the place of standard output.
    with ExitStack() as close, open_output(output) as file:
        rows_show_progress = write is not None and file.isatty()
        with show_progress(quiet or rows_show_progress) as listen:
            from pneumocli.core.atypical import describe_atypical
            from pneumocli.core.engine import choose_predictor, open_predictor
            from pneumocli.core.prediction import Tally, predict_files
            from pneumocli.core.shards import predict_shards
            from pneumocli.core.workers import gathering

            # ONNX Runtime's threads are its own: one thread a process is Keras's to promise.
            kind: EngineName = "keras" if deterministic and engine.value == "auto" else engine.value
            if elsewhere:
                workers = close.enter_context(gathering(backend, address))
                chosen = choose_predictor(found, kind, force=force, notify=notify, warn=say)
            else:
                opened = open_predictor(
                    found,
                    kind,
                    images=len(sources),
                    explains=explanations is not None,
                    deterministic=deterministic,
                    force=force,
                    notify=notify,
                    warn=say,
                )
                chosen = opened.chosen
            card = chosen.card
            head = {
                "model": card.name,
                "model_sha256": chosen.model_sha256,
                "engine": chosen.words,
                "model_members": card.members,
                "synthetic": card.data.synthetic,
                "rule": card.rule,
                "source": card.source,
                "threshold": card.threshold,
                "temperature": card.temperature,
                "calibrated_threshold": card.calibrated_threshold,
                "preparation": describe_preparation(card.pixels),
                "typical": None if card.atypical is None else card.atypical.to_dict(),
            }
            notify(f"model: {card.name}, by {head['engine']}")
            notify(f"images: {head['preparation']}")
            illustrate = None
            if explanations is not None and opened.model is not None:
                from pneumocli.core.explain import explain_with

                draw = partial(
                    add_explanation,
                    explanations,
                    called_from=card.calibrated_threshold,
                    model=card.name,
                    synthetic=card.data.synthetic,
                )
                illustrate = explain_with(opened.model, draw)
            tally = Tally()
            if elsewhere:
                predicted = predict_shards(
                    found,
                    chosen,
                    sources,
                    workers,
                    jobs=jobs,
                    deterministic=deterministic,
                    strict=strict,
                    force=force,
                    listen=listen,
                    notify=notify,
                    warn=say,
                )
            else:
                predicted = predict_files(
                    opened.scorer,
                    card,
                    sources,
                    strict=strict,
                    illustrate=illustrate,
                    force=force,
                    listen=listen,
                    notify=notify,
                    warn=say,
                )
            answers = tally.count(predicted)
            rows = (answer.to_row() for answer in answers)
            if write is not None:
                write(rows, head, file)
            else:
                answered = [row for row in rows if row["error"] is None]
        if write is None and (answered or output is not None):
            table = tabulate_predictions(
                answered,
                card.name,
                card.data.synthetic,
                called_from=card.calibrated_threshold,
                rule=card.rule,
                source=card.source,
            )
            print_tables([table], file)
    if explanations is not None:
        close_explanations(explanations, model=card.name, synthetic=card.data.synthetic)
        notify(f"explanations: {explanations.directory}")
    for failure in tally.named:
        say(f"error: {failure.reason}")
    notify(describe_atypical(tally.atypical, tally.judged, card.atypical))
    warn_use(card.data.synthetic)
    if tally.failed:
        rest = tally.failed - len(tally.named)
        named = f", the first {len(tally.named)} of them named above" if rest else ""
        say(f"{tally.failed} of {tally.answered + tally.failed} images could not be answered{named}")
    if not tally.answered:
        raise typer.Exit(1)
    if tally.failed:
        raise typer.Exit(SOME_FAILED)


def _choose_format(asked: RowFormat | None, output: Path | None) -> RowFormat:
    if output is not None and (output == Path("-") or (output.exists() and not output.is_file())):
        raise typer.BadParameter(f"--output takes the name of a file; received {output}")
    if asked is None and output is not None and output.suffix[1:] in list(RowFormat):
        return RowFormat(output.suffix[1:])
    if asked is None and output is not None and output.suffix not in ("", ".txt"):
        known = ", ".join(f".{form}" for form in RowFormat if form is not RowFormat.TABLE)
        raise typer.BadParameter(
            f"--output takes a name that ends in {known} or .txt; received {output.name}: give one of them, "
            "or --format"
        )
    return asked or RowFormat.TABLE


def _list_sources(names: list[str], files_from: str | None, notify: Notice) -> "list[Source]":
    from pneumocli.core.errors import ImageError
    from pneumocli.core.sources import STDIN, list_sources, read_list, read_list_file

    stdin: BinaryIO | None = sys.stdin.buffer
    listed: list[str] = []
    if files_from == STDIN:
        listed, stdin = read_list(sys.stdin.buffer), None
    elif files_from is not None:
        listed = read_list_file(Path(files_from))
    sources = list_sources(names, listed, stdin=stdin, notify=notify)
    if not sources:
        raise ImageError(f"{files_from} names no images; write one path a line")
    return sources
