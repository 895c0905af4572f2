"""Tables that users write as CSV files: named columns in the first line, then a row a line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from pneumocli.core.errors import DataError
from pneumocli.core.reading import open_text


def read_rows(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row's line number, from 1, and its cells by column; empty lines are passed over.

    Columns may come in any order, in upper or lower case; spaces around a cell are left out. Further columns
    are given as they are. A file without any line has no rows.

    Args:
        path: UTF-8, with or without a byte order mark, with commas between the cells.
        needed, optional: columns, in lower case, of which none may stand there twice.

    Raises:
        DataError: the file cannot be read, is not of that form, or lacks a needed column.
    """
    line = 0
    try:
        with open_text(path) as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            header: list[str] | None = None
            for cells in reader:
                line = reader.line_num
                if not any(map(str.strip, cells)):
                    continue
                if header is None:
                    header = _check_header(path, cells, needed, optional)
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}; "
                        "a cell with a comma in it goes between quotation marks"
                    )
                yield line, dict(zip(header, map(str.strip, cells), strict=True))
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}, after line {line}: not CSV ({error}); mend the quotation marks") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); is it still there?") from None


def _check_header(
    path: Path, cells: Sequence[str], needed: Sequence[str], optional: Sequence[str]
) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    missing = [column for column in needed if column not in header]
    if missing:
        further = f" and if need be {' and '.join(optional)}" if optional else ""
        raise DataError(
            f"{path} has no column {' and '.join(missing)} (its first line: {', '.join(cells)[:30]!r}); "
            f"it takes {','.join(needed)}{further}, with commas between them"
        )
    twice = [column for column in (*needed, *optional) if header.count(column) > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]} more than once; leave one")
    return header
