"""Write examples/commands.md: every command and option, from the commands' own help.

python examples/list_commands.py            # write it
python examples/list_commands.py --check    # exit with 1 if it is not as it should be
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import typer.main

from pneumocli.cli import EPILOG, app

PAGE = Path(__file__).parent / "commands.md"
MADE_BY = "python examples/list_commands.py"


def write_page() -> str:
    """Return the page: a section a command, a line an option."""
    group: Any = typer.main.get_command(app)
    lines = [
        "# Every command and every option",
        "",
        f"<!-- made by: {MADE_BY} -->",
        "",
        "What `pneumocli COMMAND --help` says. Each command has `--help` too; `pneumocli --version` prints",
        "the version, `pneumocli --install-completion` sets up completion in bash, zsh or fish, and",
        "`pneumocli --show-completion` prints what that would add.",
    ]
    for name, command in group.commands.items():
        lines += ["", f"## {name}", "", *_describe(command)]
        lines += ["", "| option | what | default |", "|---|---|---|"]
        lines += [
            _write_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)
        ]
    return "\n".join([*lines, "", EPILOG, ""])


def _describe(command: Any) -> list[str]:
    return inspect.cleandoc(command.help or "").splitlines()


def _write_row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    variable = f" (`{parameter.envvar}`)" if parameter.envvar else ""
    return f"| {names} | {_escape(parameter.help or '')}{variable} | {_escape(_tell_default(parameter))} |"


def _tell_default(parameter: Any) -> str:
    shown = parameter.show_default
    if isinstance(shown, str):
        return shown
    if shown is False or parameter.default is None or parameter.required:
        return ""
    if isinstance(parameter.default, bool):
        return "on" if parameter.default else "off"
    return str(getattr(parameter.default, "value", parameter.default))


def _escape(words: str) -> str:
    return re.sub(r"\s+", " ", words).replace("|", "\\|")


if __name__ == "__main__":
    text = write_page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1)
    PAGE.write_text(text, encoding="utf-8")
