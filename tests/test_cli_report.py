"""`pneumocli report`: two files, their paths on stdout, and clear words for what cannot be."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from written import draw_picture, write_run, write_scored

from pneumocli import DISCLAIMER
from pneumocli.cli import app
from pneumocli.report.terminal import SYNTHETIC_NOTE


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_both_files_are_written_and_named(tmp_path: Path) -> None:
    made = write_run(tmp_path, name="one")
    write_scored(made)
    draw_picture(made.path / "roc_test.png")
    result = run("one", "--runs", tmp_path)
    assert result.exit_code == 0, result.output
    paths = [made.path / "report.html", made.path / "model_card.md"]
    assert result.stdout.splitlines() == [str(path) for path in paths]
    assert all(path.stat().st_size > 5000 for path in paths)
    assert result.stderr.splitlines() == [f"run: {made.path}", DISCLAIMER]
    assert not list(made.path.glob(".*"))
    before = paths[0].read_bytes()
    assert run(made.path, "-q").stderr.splitlines() == [DISCLAIMER]
    assert paths[0].read_bytes() == before


def test_output_names_the_page_and_the_card_stands_beside_it(tmp_path: Path) -> None:
    made = write_run(tmp_path / "runs", synthetic=True)
    page = tmp_path / "new" / "drawn.html"
    result = run("--runs", tmp_path / "runs", "--output", page)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(page), str(page.with_suffix(".md"))]
    assert page.is_file() and page.with_suffix(".md").is_file()
    assert not list(made.path.glob("report*")) and SYNTHETIC_NOTE in result.stderr


def test_a_run_that_is_not_complete_is_reported_when_named(tmp_path: Path) -> None:
    made = write_run(tmp_path, name="half")
    made.last_file.unlink()
    result = run("half", "--runs", tmp_path)
    assert result.exit_code == 0
    assert "The run is not complete." in result.stderr
    assert "no complete run" in run("--runs", tmp_path).stderr


@pytest.mark.parametrize("name", ["report.md", "report", "report.html.txt", "folder.html"])
def test_output_that_is_no_html_file_is_wrong_usage(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    write_run(tmp_path / "runs")
    result = run("--runs", tmp_path / "runs", "--output", tmp_path / name)
    assert result.exit_code == 2
    assert "is a file named *.html" in " ".join(result.stderr.split())


def test_no_run_and_a_damaged_one_are_one_line(tmp_path: Path) -> None:
    result = run("none", "--runs", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    made = write_run(tmp_path)
    (made.path / "decision.json").write_text("{")
    result = run(made.path, "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and "damaged" in line
