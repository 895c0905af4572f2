"""Paths in a table: broken where a folder ends, never cut."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from pneumocli.report.paths import PathCell, break_path
from pneumocli.report.tables import tabulate_predictions

LONG = "xrays/pneumonia/person1134_bacteria_3076.jpeg"


def test_path_that_fits_stays_one_line() -> None:
    assert break_path(LONG, len(LONG)) == [LONG]


def test_long_path_breaks_where_a_folder_ends() -> None:
    assert break_path(LONG, len(LONG) - 1) == ["xrays/pneumonia/", "  person1134_bacteria_3076.jpeg"]
    assert break_path("/a/bb/ccc/dddd", 8) == ["/a/bb/", "  ccc/", "  dddd"]


@pytest.mark.parametrize(
    "path", [LONG, "/", "", "a" * 90, "a//b/", "x/" + "b" * 90 + "/c", "胸部/写真/画像.png"]
)
@pytest.mark.parametrize("width", [2, 7, 20, 44])
def test_nothing_of_a_path_is_lost_and_no_line_is_too_long(path: str, width: int) -> None:
    lines = break_path(path, width)
    assert "".join(line.removeprefix("  ") for line in lines) == path
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("length", range(40, 48))
def test_name_that_fits_a_line_is_never_cut(length: int) -> None:
    name = "a" * length
    lines = break_path(f"xrays/pneumonia/{name}", 44)
    assert any(name in line for line in lines) == (length <= 44)


def test_spaces_of_a_name_are_no_place_to_break() -> None:
    console = Console(file=io.StringIO(), width=20)
    console.print(PathCell("scans/the left lung of a patient.png"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in shown.splitlines()] == ["scans/", "the left lung of a p", "atient.png"]


def test_table_of_answers_keeps_names_whole_at_80_columns() -> None:
    row = {"path": LONG, "probability": 0.5, "spread": 0.1, "members": [0.1, 0.2], "label": "pneumonia",
           "uncertain": True, "atypical": "a coloured photograph"}  # fmt: skip
    console = Console(file=io.StringIO(), width=80)
    console.print(tabulate_predictions([row], "cv-1, ensemble", False))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert " xrays/pneumonia/ " in shown
    assert "person1134_bacteria_3076.jpeg" in shown
    assert "atypical: a coloured photograph" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_long_remark_keeps_its_indent() -> None:
    console = Console(file=io.StringIO(), width=30)
    console.print(PathCell("a.png", ("atypical: unlike the training images",)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in shown.splitlines()] == [
        "a.png",
        "  atypical: unlike the",
        "  training images",
    ]


def test_cell_is_as_wide_as_what_it_holds() -> None:
    console = Console(width=200)
    assert console.measure(PathCell(LONG)).maximum == len(LONG)
    assert console.measure(PathCell("a", ("a remark",))).maximum == len("  a remark")
