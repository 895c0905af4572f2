"""Paths in a table's cell: too long for one line, they break where a folder ends and not within a name."""

from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.text import Text

INDENT = "  "


@dataclass(frozen=True)
class PathCell:
    """A path, and lines of words about it.

    Attributes:
        path: as plain text, without control characters.
        remarks: each begins a line.
    """

    path: str
    remarks: tuple[str, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in break_path(self.path, options.max_width):
            yield Text(line, no_wrap=True)  # which would else break at the spaces of a name
        for remark in self.remarks:
            yield Padding(Text(remark, overflow="fold"), (0, 0, 0, len(INDENT)))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        lines = [self.path, *(INDENT + remark for remark in self.remarks)]
        return Measurement(1, max(map(cell_len, lines))).with_maximum(options.max_width)


def break_path(path: str, width: int) -> list[str]:
    """Return the path in lines of at most `width` cells; a name is cut only if it is longer than one."""
    lines, line = [], ""
    for part in path.replace("/", "/\n").split("\n"):
        if line.strip() and cell_len(line + part) > width:
            lines.append(line)
            line = INDENT if cell_len(INDENT + part) <= width else ""
        line += part
        if cell_len(line) > width:
            *whole, line = chop_cells(line, width)
            lines += whole
    return [*lines, line]
