"""Answers for machines: JSON, JSON Lines and CSV, written row by row as the answers come.

A row has the same names in all three. What could not be answered has a row too, with the reason as `error`
and of the rest only its path; the JSON document alone keeps these apart, as `failures`.
"""

import csv
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pneumocli import DISCLAIMER
from pneumocli.core.files import replacing

SCHEMA_VERSION = 1
# What of the model each row repeats, so that it can stand alone.
OF_MODEL = ("model", "model_sha256", "engine", "synthetic", "calibrated_threshold")
KEPT_IN_MEMORY = 1_000_000  # bytes of failures, before they go to a temporary file

Row = Mapping[str, object]


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Give standard output, or a file that is there at the end of the block and not if it fails.

    Bytes of paths that are no text go out as they came in.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
    else:
        with (
            replacing(path) as partial,
            partial.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            yield file


def write_jsonl(rows: Iterable[Row], head: Mapping[str, object], file: TextIO) -> None:
    """Write one JSON object a line, each flushed as soon as it is there.

    Args:
        rows: each with `path`, `error` (None if it was answered), `members`, and what else was answered.
        head: what is known of the model and the call.
    """
    for row in _complete(rows, head):
        file.write(json.dumps(row, allow_nan=False) + "\n")
        file.flush()


def write_csv(rows: Iterable[Row], head: Mapping[str, object], file: TextIO) -> None:
    """Write a header and one line an image; the members have a column each, `member_1` and so on.

    Args:
        rows: as for `write_jsonl`.
        head: as for `write_jsonl`; `model_members` is how many there are.
    """
    members = int(str(head["model_members"]))
    writer: csv.DictWriter[str] | None = None
    for row in _complete(rows, head):
        flat = _flatten(row, members)
        if writer is None:
            writer = csv.DictWriter(file, list(flat), lineterminator="\n")
            writer.writeheader()
        writer.writerow(flat)


def write_document(rows: Iterable[Row], head: Mapping[str, object], file: TextIO) -> None:
    """Write one JSON object: what is known of model and call, `predictions`, `failures`, `disclaimer`.

    Args:
        rows, head: as for `write_jsonl`.
    """
    opening = json.dumps({"schema_version": SCHEMA_VERSION, **head}, indent=2, allow_nan=False)
    file.write(opening.removesuffix("\n}") + ',\n  "predictions": [')
    with tempfile.SpooledTemporaryFile(KEPT_IN_MEMORY, "w+", encoding="utf-8") as failures:
        answered = failed = 0
        for row in _complete(rows, head):
            if row["error"] is None:
                file.write(f"{',' if answered else ''}\n    {json.dumps(row, allow_nan=False)}")
                answered += 1
            else:
                failure = {"path": row["path"], "reason": row["error"], "atypical": row.get("atypical")}
                failures.write(f"{',' if failed else ''}\n    {json.dumps(failure)}")
                failed += 1
        file.write(("\n  " if answered else "") + '],\n  "failures": [')
        failures.seek(0)
        shutil.copyfileobj(failures, file)
        file.write(("\n  " if failed else "") + f'],\n  "disclaimer": {json.dumps(DISCLAIMER)}\n}}\n')


def _complete(rows: Iterable[Row], head: Mapping[str, object]) -> Iterator[dict[str, object]]:
    last = {name: head[name] for name in OF_MODEL}
    for row in rows:
        yield {**row, **last, "disclaimer": DISCLAIMER, "schema_version": SCHEMA_VERSION}


def _flatten(row: Row, members: int) -> dict[str, object]:
    """Return the fields of a CSV line: nothing for None, true and false as JSON has them."""
    flat: dict[str, object] = {}
    for name, value in row.items():
        if name == "members":
            answers = value if isinstance(value, list) else [None] * members
            flat |= {f"member_{number}": answer for number, answer in enumerate(answers, start=1)}
        else:
            flat[name] = str(value).lower() if isinstance(value, bool) else value
    return flat
