"""`pneumocli predict`: probability and label for image files."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pneumocli.commands.completing import complete_run
from pneumocli.commands.options import Format, OutputFormat, Quiet, Runs

SOME_FAILED = 4


def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders of them.", metavar="IMAGE...")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            help="A run, or a .keras file of pneumocli.",
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
    runs: Runs = Path("runs"),
    output_format: OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Answer for X-ray images: the calibrated probability of pneumonia and the label by the model's rule.

    Exit code 0 if every image was answered, 4 if some were, 1 if none was.
    """
    from pneumocli import DISCLAIMER
    from pneumocli.core.runs import find_predictor
    from pneumocli.report.explanations import add_explanation, close_explanations, open_explanations
    from pneumocli.report.live import show_progress
    from pneumocli.report.tables import tabulate_predictions
    from pneumocli.report.terminal import open_stdout, print_json, say, warn_use

    found = find_predictor(runs, model)
    explanations = None if explain is None else open_explanations(explain)
    with show_progress(quiet) as listen:
        from pneumocli.core.backend import load_backend

        load_backend()
        from pneumocli.core.evaluation import load_predictor
        from pneumocli.core.images import describe_preparation, find_images
        from pneumocli.core.prediction import Prediction, predict_files

        network, card = load_predictor(found)
        say(f"model: {card.name}", quiet)
        preparation = describe_preparation(card.pixels)
        say(f"images: {preparation}", quiet)
        illustrate = None
        if explanations is not None:
            from pneumocli.core.explain import explain_with

            draw = partial(
                add_explanation,
                explanations,
                called_from=card.calibrated_threshold,
                model=card.name,
                synthetic=card.data.synthetic,
            )
            illustrate = explain_with(network, draw)
        paths = find_images(images)
        answers = list(predict_files(network, card, paths, illustrate=illustrate, listen=listen))
    if explanations is not None:
        close_explanations(explanations, model=card.name, synthetic=card.data.synthetic)
        say(f"explanations: {explanations.directory}", quiet)
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
    warn_use(card.data.synthetic)
    if failures:
        say(f"{len(failures)} of {len(answers)} images could not be answered")
        raise typer.Exit(SOME_FAILED if rows else 1)
