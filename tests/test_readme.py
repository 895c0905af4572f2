"""The README speaks of what there is."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pneumocli.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands if command.callback)


def list_options(command: str) -> set[str]:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).output
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown(command: str) -> None:
    assert f"pneumocli {command}" in README


def test_every_shown_command_exists_with_its_options() -> None:
    shown = re.findall(r"^pneumocli (?!-)(.+)$", README, flags=re.MULTILINE)
    assert len(shown) > 10
    for line in shown:
        command, *words = line.split("#")[0].split()
        assert command in COMMANDS, line
        assert {word for word in words if word.startswith("--")} <= list_options(command), line


def test_every_option_named_in_the_text_exists() -> None:
    known = {"--version", "--install-completion", "--help"}.union(*map(list_options, COMMANDS))
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= known


def test_every_make_target_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets | {"and"}


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_module_is_in_the_tree_of_the_code() -> None:
    modules = {path.name for path in (ROOT / "pneumocli" / "core").glob("*.py")} - {"__init__.py"}
    assert [module for module in sorted(modules) if module not in README] == []
