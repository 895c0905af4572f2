"""The report of a run as one HTML file that opens anywhere: pictures inside, nothing from a network.

What comes from outside (names of runs, files and data, titles of pictures) is taken for hostile: jinja2
escapes all that it prints, and a Content-Security-Policy allows the pictures, this one style, and no more.
"""

import base64
import hashlib
import io
import struct
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pneumocli import DISCLAIMER, __version__
from pneumocli.core.album import Picture
from pneumocli.core.files import replacing
from pneumocli.core.opening import open_bounded
from pneumocli.core.reading import open_file
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.summary import Summary
from pneumocli.report.caveats import list_limits
from pneumocli.report.checklist import list_items
from pneumocli.report.facts import (
    Row,
    Table,
    tabulate_courses,
    tabulate_data,
    tabulate_origin,
    tabulate_settings,
)
from pneumocli.report.item import USER
from pneumocli.report.results import (
    tabulate_best,
    tabulate_calibration,
    tabulate_confusion,
    tabulate_external,
    tabulate_folds,
    tabulate_models,
    tabulate_move,
    tabulate_prevalence,
)
from pneumocli.report.terminal import SYNTHETIC_NOTE
from pneumocli.report.words import (
    SPLIT_WORDS,
    describe_answer,
    describe_attribution,
    describe_folds,
    describe_groups,
)

REPORT = "report.html"
SECTIONS = {
    "answer": "Answer",
    "plots": "Plots",
    "galleries": "Gallery",
    "calibration": "Calibration",
    "folds": "Folds",
    "data": "Data",
    "settings": "Settings",
    "origin": "Versions, seed, hashes",
    "limits": "Limits",
    "asked": "What guidelines ask",
}
ANCHORS = {"galleries": "gallery"}
WIDE = 1.6  # a picture so many times as wide as high has a row of its own

# Characters that turn the direction of what follows, so that a name reads as another.
TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class _Drawn:
    """A picture as the page holds it; width and height in pixels."""

    source: str
    title: str
    alt: str
    width: int
    height: int

    @property
    def is_wide(self) -> bool:
        return self.width > WIDE * self.height


@dataclass(frozen=True)
class _Group:
    title: str
    pictures: tuple[_Drawn, ...]


def write_page(summary: Summary, path: Path) -> None:
    """Write the report of a run as an HTML file."""
    with replacing(path) as partial:
        partial.write_text(render_page(summary), encoding="utf-8", newline="\n")


def render_page(summary: Summary) -> str:
    """Return the report of a run as HTML."""
    environment = open_environment(make_readable, is_html=True)
    style = environment.loader.get_source(environment, "page.css")[0]  # type: ignore[union-attr]
    context = _gather(summary)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("page.html.jinja").render(
        context,
        contents=_list_sections(context),
        style=Markup(style),
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
    )


def _list_sections(context: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the sections that are there, as links name them."""
    found = []
    for name, title in SECTIONS.items():
        if name == "folds" and not context["folds"] and context["courses"]:
            title = "Training"
        elif not context[name] and name != "answer":
            continue
        found.append({"anchor": ANCHORS.get(name, name), "title": title})
    return found


def open_environment(finalize: Callable[[Any], Any], is_html: bool = False) -> Environment:
    """Return jinja2 with the templates of this package; what it prints is finalized, and in HTML escaped."""
    return Environment(
        loader=PackageLoader("pneumocli", "report"),
        autoescape=is_html,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def make_readable(value: Any) -> Any:
    """Return a text with a replacement character for whatever is not shown, not text, or turns it around.

    Names of files may hold line ends, half characters that no file can be written with, and marks
    that make what follows run backwards.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isascii() and value.isprintable():
        return value
    return "".join(
        "\ufffd"
        if character in TURNING or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        else character
        for character in value
    )


def _gather(summary: Summary) -> dict[str, Any]:
    run, best, out_of_fold = summary.run, summary.best, summary.scored.get(OUT_OF_FOLD)
    tables: list[Table | None] = []
    if best is not None:
        title = f"All models on these images at {best.metrics.threshold:.4f}"
        tables = [
            tabulate_best(best),
            tabulate_move(best),
            tabulate_prevalence(best),
            tabulate_confusion(best.models, best.figures.best_single),
            tabulate_models(title, best.models, best.figures.best_single) if len(best.models) > 1 else None,
        ]
    calibration = [tabulate_calibration(scored) for scored in summary.scored.values()]
    return {
        "mark": "SYNTHETIC " if run.synthetic else "",
        "name": run.name,
        "kind": describe_kind(summary),
        "data_name": run.record.data.name,
        "is_synthetic": run.synthetic,
        "synthetic_note": SYNTHETIC_NOTE.replace("synthetic", "SYNTHETIC", 1),
        "disclaimer": DISCLAIMER,
        "version": __version__,
        "answer": describe_answer(summary),
        "gaps": summary.gaps,
        "best": [table for table in tables if table is not None],
        "external": tabulate_external(summary.external),
        "plots": _group_pictures([each for each in summary.pictures if not _is_gallery(each)]),
        "galleries": _group_pictures([each for each in summary.pictures if _is_gallery(each)]),
        "calibration": [table for table in calibration if table is not None],
        "folds": [] if out_of_fold is None else tabulate_folds(out_of_fold.figures),
        "courses": tabulate_courses(summary),
        "data": tabulate_data(summary),
        "attribution": describe_attribution(summary),
        "groups": describe_groups(summary),
        "settings": tabulate_settings(summary),
        "origin": tabulate_origin(summary),
        "limits": list_limits(summary),
        "asked": tabulate_asked(summary),
    }


def describe_kind(summary: Summary) -> str:
    """Return in words what kind of run it is."""
    record = summary.run.record
    return "a single model" if record.folds is None else f"a cross-validation in {describe_folds(record)}"


def tabulate_asked(summary: Summary) -> Table:
    """Return what the two guidelines ask, with the run's answers."""
    rows = tuple(
        Row(
            " ".join(item.claim) or "-",
            (" ".join(item.tripod) or "-", item.asks, item.answer),
            is_marked=item.answer.startswith(USER),
        )
        for item in list_items(summary)
    )
    columns = ("TRIPOD+AI", "what is asked", "what this run answers")
    return Table("What is asked, and what this run can answer", "CLAIM", columns, rows, holds_words=True)


def _is_gallery(picture: Picture) -> bool:
    return picture.path.name.startswith("gallery")


def _group_pictures(pictures: Sequence[Picture]) -> list[_Group]:
    """Return pictures by split, in the order of the splits; what belongs to none comes last."""
    splits = dict.fromkeys([*SPLIT_WORDS, *(picture.split for picture in pictures if picture.split), None])
    groups = []
    for split in splits:
        drawn = (_embed(picture) for picture in pictures if picture.split == split)
        found = tuple(picture for picture in drawn if picture is not None)
        if found:
            title = SPLIT_WORDS.get(split or "train", split or "")
            groups.append(_Group(title.capitalize(), found))
    return groups


def _embed(picture: Picture) -> _Drawn | None:
    """Return a picture as a data URI, with the size that its header names; None if it cannot be read."""
    try:
        with open_file(picture.path) as file:
            content = file.read()
        width, height = struct.unpack(">II", content[16:24])
    except (OSError, struct.error):
        return None
    source = f"data:image/png;base64,{base64.b64encode(shrink_png(content)).decode()}"
    return _Drawn(source, picture.title, picture.alt, width, height)


def shrink_png(content: bytes) -> bytes:
    """Return a PNG in 256 colours of its own choice if that is smaller, else as it is.

    Of plots as matplotlib draws them 40 % of the bytes are left, and pixels differ by 0.02 grey levels in
    the mean.
    """
    from PIL import Image

    written = io.BytesIO()
    try:
        with open_bounded(io.BytesIO(content), ("PNG",)) as image:
            flat = Image.new("RGBA", image.size, "white")
            flat.alpha_composite(image.convert("RGBA"))
        few = flat.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(written, "PNG", optimize=True)
    except Exception:  # Pillow promises no list of what a damaged file can raise; a browser may still show it
        return content
    return min(written.getvalue(), content, key=len)
