"""Console output and options that all commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from equitrade.errors import EquitradeError
from equitrade.json_values import json_value

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


class Progress(Protocol):
    """Progress of a training: steps taken, and the latest evaluation by name."""

    @property
    def step(self) -> int: ...
    @property
    def evaluation(self) -> Mapping[str, Sequence[float]] | None: ...


def say(text: str) -> None:
    """Print a line for people on standard error, so that standard output stays clean for programs."""
    sys.stderr.write(text + "\n")


def print_json(payload: Any) -> None:
    """Print strict JSON: numbers that are not finite become null."""
    print(json.dumps(json_value(payload), indent=2, default=str))


def show(as_json: bool, value: Any, lines: Iterable[str]) -> None:
    """Print a value as JSON, or lines for people."""
    if as_json:
        print_json(value)
        return
    for line in lines:
        print(line)


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


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar on standard error; yields a callback for a training."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps,"),
        TimeRemainingColumn(),
        TextColumn("left  {task.fields[latest]}"),
    )
    bar = Bar(*columns, console=Console(stderr=True))
    task = bar.add_task(label, total=total, latest="")

    def update(progress: Progress) -> None:
        # Started with the first step, so that an error of the input is printed without a bar.
        bar.start()
        bar.update(task, completed=progress.step, latest=_latest(progress.evaluation))

    try:
        yield update
    finally:
        bar.stop()


def run_command(app: typer.Typer, arguments: Sequence[str] | None = None, name: str | None = None) -> int:
    """Run a command line (by default that of the process) and return its exit code.

    Errors of the user are printed on one line; `name` is that of the program in its help.
    """
    command = typer.main.get_command(app)
    given = None if arguments is None else list(arguments)
    try:
        result = command.main(args=given, prog_name=name, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", 130)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except BrokenPipeError:
        # The reader is gone (`| head`): Python would fail again when it flushes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        parsing: Any = error
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # errors of the parser
            if type(error).__name__ == "NoArgsIsHelpError":
                parsing.show()
                return 2
            return _fail(f"error: {_line(parsing.format_message())}", 2)
        if not isinstance(error, EquitradeError) or os.environ.get("EQUITRADE_TRACEBACK"):
            raise
        return _fail(f"error: {_line(str(error)) or type(error).__name__}", 2)
    return result if isinstance(result, int) else 0


def option_arguments(context: typer.Context, **changes: Any) -> list[str]:
    """Return the options of a command as arguments, for child processes that run the same command.

    `changes` are other values, by the name of the parameter; None leaves an option out.
    """
    values = {**context.params, **changes}
    arguments = []
    for parameter in context.command.params:
        value = values.get(parameter.name or "")
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if item is True:
                arguments.append(parameter.opts[0])
            elif item is False:
                arguments += parameter.secondary_opts[:1]
            elif item not in (None, ""):
                arguments.append(f"{parameter.opts[0]}={item}")
    return arguments


def _latest(evaluation: Mapping[str, Any] | None) -> str:
    """Return a short text on the newest evaluation, averaged over seeds."""
    if not evaluation:
        return ""
    parts = []
    for name, values in evaluation.items():
        mean = sum(float(v) for v in values) / len(values)
        parts.append(f"{name.replace('_', ' ')} {mean:.3g}")
    return ", ".join(parts[:2])


def _line(text: str) -> str:
    return " ".join(text.split())


def _fail(text: str, code: int) -> int:
    say(text)
    return code
