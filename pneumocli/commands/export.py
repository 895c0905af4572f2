"""`pneumocli export`: a model as an ONNX file, which answers without tensorflow."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.completing import complete_run
from pneumocli.commands.options import Format, OutputFormat, Quiet, Runs


def export(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="A run, or a .keras file of pneumocli.",
            show_default="the newest complete run",
            autocompletion=complete_run,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The ONNX file.",
            metavar="FILE",
            show_default="model.onnx in the run",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The images to compare on: an .npz file, a folder or CSV of image files, or the word "
            "synthetic (drawn images).",
            show_default="those at hand, else drawn ones",
        ),
    ] = None,
    runs: Runs = Path("runs"),
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Write a model as one ONNX file: raw pixels in, calibrated probabilities out, its contract inside.

    Its answers are compared with the model's on 256 images (of --data, else of data found here, else
    drawn; nothing is fetched), and it is refused if a probability differs by more than 0.001.
    """
    from pneumocli.core.finding import find_predictor
    from pneumocli.core.predictor import ONNX_SUFFIX, place_onnx
    from pneumocli.report.live import show_progress
    from pneumocli.report.tables import tabulate_export
    from pneumocli.report.terminal import open_stdout, print_json, say, warn_use

    if output is not None and output.suffix != ONNX_SUFFIX:
        raise typer.BadParameter(f"--output takes the name of an {ONNX_SUFFIX} file; received {output}")
    found = find_predictor(runs, run)
    if isinstance(found, Path) and found.suffix == ONNX_SUFFIX:
        raise typer.BadParameter(f"{found} is an ONNX file already; name a run or a .keras file")
    path = output or place_onnx(found)

    def notify(line: str) -> None:
        say(line, quiet)

    with show_progress(quiet) as listen:
        from pneumocli.core.backend import load_backend

        load_backend()
        from pneumocli.core.evaluation import read_predictor_card
        from pneumocli.core.export import check_installed, export_onnx
        from pneumocli.core.sample import gather_sample

        check_installed()
        card = read_predictor_card(found)
        notify(f"model: {card.name}")
        sample = gather_sample(card, data, listen=listen, notify=notify)
        notify(f"compared on: {len(sample.images)} {sample.data}")
        contract = export_onnx(found, path, sample, listen=listen)
    if output_format is Format.JSON:
        size = path.stat().st_size
        print_json({"file": str(path), "bytes": size, **contract.model_dump(mode="json")})
    else:
        open_stdout().print(tabulate_export(contract, path))
    warn_use(card.data.synthetic)
