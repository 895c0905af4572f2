"""Answers as JSON, JSON Lines and CSV, read back by the standard library."""

import csv
import io
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pneumocli import DISCLAIMER
from pneumocli.report.formats import open_output, write_csv, write_document, write_jsonl

HEAD = {
    "model": "cv-1, ensemble",
    "model_sha256": "ab" * 32,
    "engine": "keras 3.15.1 on tensorflow",
    "model_members": 2,
    "synthetic": False,
    "rule": "youden",
    "calibrated_threshold": 0.6,
}
PATHS = ['a,"b".png', "two\nlines.png", "\x1b[31mred.png", "Röntgen.png", "\udcff.png"]


def make_row(path: str, error: str | None = None) -> dict[str, Any]:
    if error is not None:
        return dict.fromkeys(make_row("")) | {"path": path, "error": error}
    return {
        "path": path,
        "probability": 0.1 + 0.2,
        "label": "normal",
        "uncertain": True,
        "members": [1 / 3, 0.25],
        "error": None,
    }


ROWS = [make_row("bad.png", "bad.png does not exist"), *map(make_row, PATHS), make_row("x", "no")]
REPEATED = {
    name: HEAD[name] for name in ("model", "model_sha256", "engine", "synthetic", "calibrated_threshold")
}


def complete(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **REPEATED, "disclaimer": DISCLAIMER, "schema_version": 1}


def test_jsonl() -> None:
    file = io.StringIO()
    write_jsonl(ROWS, HEAD, file)
    assert [json.loads(line) for line in file.getvalue().splitlines()] == list(map(complete, ROWS))
    assert file.getvalue().isascii()


def test_jsonl_rows_are_out_before_the_next_is_asked_for() -> None:
    file = io.StringIO()

    def give() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(ROWS):
            assert len(file.getvalue().splitlines()) == number
            yield row

    write_jsonl(give(), HEAD, file)


def test_document() -> None:
    file = io.StringIO()
    write_document(ROWS, HEAD, file)
    content = json.loads(file.getvalue())
    assert content == {
        "schema_version": 1,
        **HEAD,
        "predictions": [complete(row) for row in ROWS if row["error"] is None],
        "failures": [
            {"path": row["path"], "reason": row["error"], "atypical": None}
            for row in ROWS
            if row["error"] is not None
        ],
        "disclaimer": DISCLAIMER,
    }


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS[1:2]])
def test_document_without_answers_or_failures(rows: list[dict[str, Any]]) -> None:
    file = io.StringIO()
    write_document(rows, HEAD, file)
    content = json.loads(file.getvalue())
    assert len(content["predictions"]) + len(content["failures"]) == len(rows)


def test_csv() -> None:
    file = io.StringIO()
    write_csv(ROWS, HEAD, file)
    lines = list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))
    assert [line["path"] for line in lines] == [row["path"] for row in ROWS]
    first, second = lines[0], lines[1]
    assert first["error"] == "bad.png does not exist"
    for name in ("probability", "label", "uncertain", "member_1", "member_2"):
        assert first[name] == ""
    assert float(second["probability"]) == 0.1 + 0.2
    assert [float(second["member_1"]), float(second["member_2"])] == [1 / 3, 0.25]
    assert (second["uncertain"], second["synthetic"], second["error"]) == ("true", "false", "")
    for line in lines:
        assert (line["model"], line["disclaimer"]) == (HEAD["model"], DISCLAIMER)
        assert "members" not in line


@pytest.mark.parametrize("write", [write_jsonl, write_csv, write_document])
@pytest.mark.parametrize("error", [None, "does not exist"])
def test_memory_does_not_grow_with_the_rows(write: Callable[..., None], error: str | None) -> None:
    class Nowhere(io.StringIO):
        def write(self, text: str) -> int:
            return len(text)

    def grow(rows: int) -> int:
        tracemalloc.start()
        write((make_row(f"folder/{row}.png", error) for row in range(rows)), HEAD, Nowhere())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert grow(20_000) < grow(100) + 3_000_000


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    with open_output(path) as file:
        file.write("\udcffold")
        assert not path.exists()
    assert path.read_bytes() == b"\xffold"
    with pytest.raises(KeyboardInterrupt), open_output(path) as file:
        file.write("new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"\xffold"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_that_are_no_text_reach_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(kept, encoding="utf-8"))
    with open_output(None) as file:
        write_csv([make_row("\udcff.png")], HEAD, file)
        file.flush()
    assert b"\n\xff.png," in kept.getvalue()
