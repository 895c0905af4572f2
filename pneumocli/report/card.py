"""The model card of a run in Markdown, by the headings of Hugging Face's template.

https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/templates/modelcard_template.md.
The front matter is JSON values behind YAML keys: every JSON value on one line is a YAML one.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pneumocli import DISCLAIMER, __version__
from pneumocli.core.files import replacing
from pneumocli.core.images import describe_preparation
from pneumocli.core.metrics import FIGURES
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.summary import Summary
from pneumocli.report.caveats import list_limits
from pneumocli.report.facts import Table, tabulate_courses, tabulate_data, tabulate_origin, tabulate_settings
from pneumocli.report.item import USER
from pneumocli.report.page import describe_kind, make_readable, open_environment
from pneumocli.report.results import (
    tabulate_best,
    tabulate_calibration,
    tabulate_external,
    tabulate_folds,
    tabulate_move,
)
from pneumocli.report.terminal import SYNTHETIC_NOTE
from pneumocli.report.words import (
    describe_answer,
    describe_attribution,
    describe_groups,
    describe_head,
    describe_input,
    describe_loss,
    describe_optimizer,
    name_split,
)

CARD = "model_card.md"
# Hugging Face's names of the figures, where it has one.
METRIC_TYPES = {"roc_auc": "roc_auc", "accuracy": "accuracy", "f1": "f1", "sensitivity": "recall"}
# What begins something else than text in Markdown (CommonMark and GitHub's tables), and HTML.
MEANINGFUL = re.compile(r"([\\`*_{}\[\]<>#|~&!$@])|(?<=:)(//)|(?<=www)(\.)")


def write_card(summary: Summary, path: Path) -> None:
    """Write the model card of a run."""
    with replacing(path) as partial:
        partial.write_text(render_card(summary), encoding="utf-8", newline="\n")


def render_card(summary: Summary) -> str:
    """Return the model card of a run as Markdown."""
    template = open_environment(escape_markdown).get_template("card.md.jinja")
    text = template.render(_gather(summary), show=write_table)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape_markdown(value: Any) -> Any:
    """Return a text that Markdown shows as it is; what is marked as Markdown already stays."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return MEANINGFUL.sub(r"\\\g<0>", make_readable(value))


def write_table(table: Table) -> Markup:
    """Return a table as GitHub's Markdown has them, its marked rows with a star."""
    shown = [column or "what it is" for column in table.columns]
    lines = [[table.first, *shown], ["---", *(["---" if table.holds_words else "---:"] * len(shown))]]
    lines[0] = [escape_markdown(cell) for cell in lines[0]]
    for row in table.rows:
        star = " (marked)" if row.is_marked else ""
        lines.append([escape_markdown(cell) for cell in (f"{row.head}{star}", *row.cells)])
    written = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    note = f"\n\n{escape_markdown(table.note)}" if table.note else ""
    return Markup(f"{escape_markdown(table.title)}:\n\n{written}{note}")


def _gather(summary: Summary) -> dict[str, Any]:
    record, best, out_of_fold = summary.run.record, summary.best, summary.scored.get(OUT_OF_FOLD)
    results: list[Table | None] = []
    if best is not None:
        results = [
            tabulate_best(best),
            tabulate_move(best),
            tabulate_calibration(best),
            tabulate_external(summary.external),
            *([] if out_of_fold is None else tabulate_folds(out_of_fold.figures)),
        ]
    settings = record.settings
    tested = (
        f"{best.metrics.n} {name_split(best)} of {best.figures.data}." if best is not None else "None yet."
    )
    return {
        "front": Markup(_write_front_matter(summary)),
        "mark": "SYNTHETIC " if summary.run.synthetic else "",
        "name": summary.run.name,
        "disclaimer": DISCLAIMER,
        "is_synthetic": summary.run.synthetic,
        "synthetic_note": SYNTHETIC_NOTE.replace("synthetic", "SYNTHETIC", 1),
        "answer": describe_answer(summary),
        "gaps": summary.gaps,
        "more": f"{USER[0].upper()}{USER[1:]}",
        "description": f"ResNet-50 for chest X-rays, pneumonia or normal: {describe_kind(summary)}. "
        "In goes a grey "
        f"image of {record.data.pixels} px, out comes the probability of pneumonia.",
        "kind": describe_kind(summary),
        "weights": record.weights.name,
        "limits": list_limits(summary),
        "start": Markup(_fence(_write_start(summary))),
        "attribution": describe_attribution(summary),
        "data": tabulate_data(summary),
        "preparation": f"{describe_preparation(record.data.pixels)}."
        f"{describe_input(record.data.pixels, settings)}",
        "groups": describe_groups(summary),
        "regime": f"{record.precision.value}; two phases, the head, then the last "
        f"{settings.tune_layers} layers; {describe_optimizer(settings)}",
        "settings": tabulate_settings(summary),
        "size": f"{summary.size_bytes / 1e6:.0f} MB",
        "courses": tabulate_courses(summary),
        "tested": tested,
        "results": [table for table in results if table is not None],
        "architecture": "ResNet-50 (He et al. 2015, arXiv 1512.03385) without its top, average pooling, "
        f"{describe_head(settings)}. Minimised was {describe_loss(settings)}.",
        "origin": tabulate_origin(summary),
        "citation": f"{describe_attribution(summary)} The model: {USER}.",
        "version": __version__,
    }


def _write_start(summary: Summary) -> str:
    model = shlex.quote(str(make_readable(str(summary.run.path))))
    return f"pip install .  # in the source of pneumocli\npneumocli predict xray.png --model {model}"


def _fence(code: str) -> str:
    """Return code as a block of Markdown that none of its lines can end."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{code}\n{fence}"


def _write_front_matter(summary: Summary) -> str:
    tags = ["chest-x-ray", "pneumonia", "resnet-50", "not-for-clinical-use"]
    if summary.is_medmnist:
        tags.append("medmnist")
    if summary.run.synthetic:
        tags.append("synthetic-data")
    front: dict[str, Any] = {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": tags,
        "metrics": list(METRIC_TYPES.values()),
        "model-index": [{"name": summary.run.name, "results": _list_results(summary)}],
    }
    return "\n".join(f"{name}: {_write_value(value)}" for name, value in front.items())


def _list_results(summary: Summary) -> list[dict[str, Any]]:
    return [
        {
            "task": {"type": "image-classification"},
            "dataset": {
                "name": f"{'SYNTHETIC ' if scored.figures.synthetic else ''}{scored.figures.data}",
                "type": "image-classification",
                "split": scored.figures.split,
            },
            "metrics": [
                {
                    "type": METRIC_TYPES.get(figure, figure),
                    "name": figure,
                    "value": getattr(scored.metrics, figure),
                }
                for figure in FIGURES
            ],
        }
        for scored in (*summary.scored.values(), *summary.external)
    ]


def _write_value(value: Any) -> str:
    """Return a value as JSON that is also YAML: no character above U+FFFF as two, nothing unprintable."""
    text = json.dumps(_clean(value), ensure_ascii=False, allow_nan=False)
    return "".join(character if character.isprintable() else f"\\U{ord(character):08x}" for character in text)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clean(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_clean(part) for part in value]
    return make_readable(value)
