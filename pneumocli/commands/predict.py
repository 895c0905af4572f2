"""`pneumocli predict`: probability and label for image files."""

from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.options import Format, OutputFormat, Quiet, Runs

SOME_FAILED = 4


def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders of them.", metavar="IMAGE...")
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="A run, or a .keras file of pneumocli.", show_default="the newest complete run"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Do not answer for images unlike those trained on.")
    ] = False,
    runs: Runs = Path("runs"),
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Answer for X-ray images: the calibrated probability of pneumonia and the label by the model's rule.

    Exit code 0 if every image was answered, 4 if some were, 1 if none was.
    """
    from pneumocli import DISCLAIMER
    from pneumocli.core.runs import find_predictor
    from pneumocli.report.live import show_progress
    from pneumocli.report.tables import tabulate_predictions
    from pneumocli.report.terminal import open_stdout, print_json, say, warn_use

    found = find_predictor(runs, model)
    with show_progress(quiet) as listen:
        from pneumocli.core.backend import load_backend

        load_backend()
        from pneumocli.core.atypical import describe_atypical
        from pneumocli.core.evaluation import load_predictor, load_predictor_typical
        from pneumocli.core.images import describe_preparation, find_images
        from pneumocli.core.prediction import Prediction, predict_files

        network, card = load_predictor(found)
        say(f"model: {card.name}", quiet)
        preparation = describe_preparation(card.pixels)
        say(f"images: {preparation}", quiet)
        typical = load_predictor_typical(found)
        answers = list(
            predict_files(network, card, find_images(images), typical=typical, strict=strict, listen=listen)
        )
    rows = [answer.to_dict() for answer in answers if isinstance(answer, Prediction)]
    failures = [answer.to_dict() for answer in answers if not isinstance(answer, Prediction)]
    for failure in failures:
        say(f"error: {failure['reason']}")
    if output_format is Format.JSON:
        print_json(
            {
                "schema_version": 1,
                "model": card.name,
                "synthetic": card.data.synthetic,
                "rule": card.rule,
                "source": card.source,
                "threshold": card.threshold,
                "temperature": card.temperature,
                "calibrated_threshold": card.calibrated_threshold,
                "preparation": preparation,
                "typical": None if card.atypical is None else card.atypical.to_dict(),
                "predictions": rows,
                "failures": failures,
                "disclaimer": DISCLAIMER,
            }
        )
    elif rows:
        table = tabulate_predictions(
            rows,
            card.name,
            card.data.synthetic,
            called_from=card.calibrated_threshold,
            rule=card.rule,
            source=card.source,
        )
        open_stdout().print(table)
    looked_at = [answer.atypical for answer in answers if isinstance(answer, Prediction) or answer.atypical]
    say(describe_atypical(looked_at, card.atypical), quiet)
    warn_use(card.data.synthetic)
    if failures:
        say(f"{len(failures)} of {len(answers)} images could not be answered")
        raise typer.Exit(SOME_FAILED if rows else 1)
