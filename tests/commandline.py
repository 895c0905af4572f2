"""Running the command line in the tests' own process."""

from pathlib import Path

from typer.testing import CliRunner, Result

from pneumocli.cli import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fail(*arguments: object, exit_code: int = 1) -> str:
    """The one line on stderr of a command that cannot work; nothing is on stdout."""
    result = run(*arguments, "--quiet")
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def list_runs_made(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []
