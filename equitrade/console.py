"""Console output and options that all commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from equitrade.json_values import json_value

__all__ = ["HomeOption", "JsonOption", "print_json", "print_table", "say", "text_table", "working"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Where data, runs and models live.",
        envvar="EQUITRADE_HOME",
        show_default="./equitrade_home",
    ),
]


def say(text: str) -> None:
    """Print a line for people on standard error, so that standard output stays clean for programs."""
    sys.stderr.write(text + "\n")


def print_json(payload: Any) -> None:
    """Print strict JSON: numbers that are not finite become null."""
    print(json.dumps(json_value(payload), indent=2, default=str))


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str | None = None
) -> None:
    """Print a table to standard output; the first column is left-aligned, the others right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> list[str]:
    """Return rows as aligned lines of plain text, or the line ``empty`` where there are none."""
    if not rows:
        return [empty]
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return [line.rstrip() for line in lines]


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show a spinner on standard error, if that is a terminal, for work of unknown length."""
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
