"""Header of a table: the row that names its columns, below lines of text that some exports begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data.errors import DataError
from data.readers.columns import role_of

#: Rows among which the header is searched for.
HEAD_ROWS = 25
_DATE_LIKE = re.compile(
    r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|^\d{8}$|^\d{1,2}[- ][A-Za-z]{3}[- ]\d{2,4}\b|^[A-Za-z]{3,9} \d{1,2}, \d{4}"
)
_PAIR = "|"

Cells = Sequence[str]


def find_header(rows: Sequence[Cells]) -> int | None:
    """Return the position of the header among the first rows of a file, or None if no row of values is found.

    It is a row above the first values, as wide as they are, without empty cells but the first and without values; one
    with a date column comes before others.
    """
    first = next((at for at in range(len(rows)) if _begins_values(rows, at)), None)
    if first is None:
        return None
    width = len(rows[first])
    full = [
        at for at in range(first) if len(rows[at]) == width and all(rows[at][1:]) and not _has_date(rows[at])
    ]
    return next((at for at in full if names_date(rows[at])), full[0] if full else None)


def names_date(cells: Cells) -> bool:
    """Return True if a row has the name of a date column."""
    return any(role_of(cell) == "date" for cell in cells)


def column_names(rows: Sequence[Cells], line: int, place: str) -> tuple[list[str], int]:
    """Return the names of the columns, and the number of rows of the header, of its cells and the two rows below it.

    Raises `DataError` if the row has values, or two columns have one name; the message names place and line.
    """
    first = [cell.strip() for cell in rows[0]]
    if _has_date(first):
        raise DataError(
            f"{place}: line {line} holds values ('{','.join(first)[:60]}'); the first line must name the columns"
        )
    if len(rows) > 2 and _is_index_row(rows[2]) and len(rows[1]) == len(first):
        # The two header rows of a table of (field, symbol) columns, and one that only names the index.
        pairs = [f"{symbol.strip()}{_PAIR}{field}" for field, symbol in zip(first, rows[1], strict=True)]
        return _unique([rows[2][0].strip(), *pairs[1:]], place), 3
    return _unique(first, place), 1


def _begins_values(rows: Sequence[Cells], at: int) -> bool:
    """Return True if a row, and the next one where there is one, is as wide as the other and has a date."""
    below = next((cells for cells in rows[at + 1 :] if any(cells)), rows[at])
    return len(rows[at]) > 1 and len(below) == len(rows[at]) and _has_date(rows[at]) and _has_date(below)


def _has_date(cells: Cells) -> bool:
    return any(_DATE_LIKE.match(cell.strip()) for cell in cells)


def _is_index_row(cells: Cells) -> bool:
    named = bool(cells) and cells[0].strip().lower() in ("date", "datetime")
    return named and len(cells) > 1 and not any(cell.strip() for cell in cells[1:])


def _unique(names: list[str], place: str) -> list[str]:
    seen: set[str] = set()
    for column in names:
        if column and column in seen:
            raise DataError(f"{place}: two columns are called '{column}'")
        seen.add(column)
    if names.count("") > 1:
        raise DataError(f"{place}: {names.count('')} columns have no name")
    return names
