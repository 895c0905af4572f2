"""The README speaks of what there is."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from pneumocli import DISCLAIMER
from pneumocli.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands if command.callback)


def list_pages() -> list[Path]:
    """The README and the pages under examples/ that it leads to, directly or by another page."""
    found = [ROOT / "README.md"]
    for page in found:
        links = re.findall(r"\]\((?!http)([^)#]+\.md)", page.read_text(encoding="utf-8"))
        found += [path for link in links if (path := (page.parent / link).resolve()) not in found]
    return found


PAGES = {page: page.read_text(encoding="utf-8") for page in list_pages()}


def list_options(command: str) -> set[str]:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).output
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown(command: str) -> None:
    assert f"pneumocli {command}" in README


def test_every_shown_command_exists_with_its_options() -> None:
    shown = [
        line
        for page in PAGES.values()
        for line in re.findall(r"^(?:\$ )?pneumocli (?!-)(.+)$", page, flags=re.MULTILINE)
    ]
    assert len(shown) > 40
    for line in shown:
        command, *words = re.split(r" [|<&#]", line)[0].split()
        assert command in COMMANDS, line
        assert {word for word in words if word.startswith("--")} <= list_options(command), line


def test_every_option_named_in_the_text_exists() -> None:
    known = {"--version", "--install-completion", "--show-completion", "--help"}.union(
        *map(list_options, COMMANDS)
    )
    for path in (
        ROOT / "README.md",
        *(ROOT / "examples" / f"{name}.md" for name in ("guide", "speed", "inside")),
    ):
        assert set(re.findall(r"`(--[a-z-]+)", PAGES[path])) <= known, path.name


def test_every_make_target_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets | {"and"}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "examples").glob("*.md"))], ids=str)
def test_every_linked_file_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def list_anchors(page: str) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_linked_heading_exists(page: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", PAGES[page]):
        linked = (page.parent / file).resolve() if file else page
        assert anchor in list_anchors(PAGES[linked]), f"{file}#{anchor}"


def test_every_module_is_in_the_tree_of_the_code() -> None:
    modules = {path.name for path in (ROOT / "pneumocli" / "core").glob("*.py")} - {"__init__.py"}
    tree = PAGES[ROOT / "examples" / "inside.md"]
    assert [module for module in sorted(modules) if module not in tree] == []


# Each option against the pages


def list_parameters() -> list[tuple[str, str]]:
    group: Any = typer.main.get_command(app)
    return [
        (name, option)
        for name, command in group.commands.items()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    ]


def read_section(page: str, command: str) -> str:
    """What stands below a command's heading, to the next of the same depth."""
    match = re.search(rf"^## {re.escape(command)}$(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


@pytest.mark.parametrize(("command", "option"), list_parameters())
def test_every_option_of_every_command_is_named_on_a_page(command: str, option: str) -> None:
    named = rf"(?<![\w-]){re.escape(option)}(?![\w-])"
    assert any(re.search(named, read_section(page, command)) for page in PAGES.values())


def test_the_page_of_commands_is_as_their_help() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "list_commands.py", "--check"], cwd=ROOT)
    assert done.returncode == 0, "make it anew: python examples/list_commands.py"


def test_every_help_says_what_the_tool_is_not_for_and_the_exit_codes() -> None:
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        assert DISCLAIMER in command.epilog, name
        shown = " ".join(CliRunner().invoke(app, [name, "--help"]).output.split())
        assert DISCLAIMER in shown, name
        for code in (" 0 ", " 1 ", " 2 ", " 4 ", " 130 "):
            assert code in shown, (name, code)


def test_the_readme_tells_the_exit_codes() -> None:
    section = read_section(README, "Exit codes")
    assert re.findall(r"(?:^|[;.] )(\d+) ", section.strip()) == ["0", "1", "2", "4", "130"]


# What a result is never called: it is no finding of a physician.
FORBIDDEN = re.compile(r"diagnos|risk[ -]level", flags=re.IGNORECASE)


TEXTS = (".py", ".md", ".html", ".css", ".js", ".txt", ".json")
READ_BY_USERS = [
    *PAGES,
    *(path for path in sorted((ROOT / "pneumocli").rglob("*")) if path.suffix in TEXTS),
]


@pytest.mark.parametrize("path", READ_BY_USERS, ids=lambda path: path.name)
def test_no_text_takes_a_result_for_more_than_it_is(path: Path) -> None:
    assert not FORBIDDEN.search(path.read_text(encoding="utf-8"))
