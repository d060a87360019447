"""The root command ``equitrade``.

Sub-commands are found through the entry-point group ``equitrade.commands`` and imported only when they are
called, so that the root imports no package above it and ``equitrade --help`` is fast. The name of an entry point
is that of the command; its value is ``module:app``, a Typer application. The first line of that module's docstring
is the command's line in the list of commands; it is read without importing the module.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from equitrade.console import run_command
from equitrade.errors import EquitradeError

GROUP = "equitrade.commands"
ORDER = (
    "demo",
    "data",
    "train",
    "backtest",
    "walk-forward",
    "compare",
    "report",
    "check-lookahead",
    "symmetry",
    "tune",
    "cross-validate",
    "study",
    "gym",
)


class LazyGroup(TyperGroup):
    """A command group whose commands are entry points, loaded when called."""

    def list_commands(self, ctx: Any) -> list[str]:
        rank = {name: i for i, name in enumerate(ORDER)}
        return sorted(command_points(), key=lambda name: (rank.get(name, len(ORDER)), name))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        point = command_points().get(cmd_name)
        if point is None:
            return None
        try:
            command = get_command(point.load())
        except ModuleNotFoundError as error:
            if error.name != point.module.partition(".")[0]:
                raise
            raise EquitradeError(
                f"'{cmd_name}' is not part of the installed package; install equitrade from a checkout of its "
                "repository: pip install -e ."
            ) from error
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        # Typer's own version would import every command for its help.
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)  # and, for a group, its commands

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        points = command_points()
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(points[name])) for name in self.list_commands(ctx)])


def command_points() -> dict[str, EntryPoint]:
    """Return the installed sub-commands by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def summary(point: EntryPoint) -> str:
    """Return the first line of a command module's docstring, parsed from its source without importing it."""
    try:
        spec = importlib.util.find_spec(point.module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return "Not part of the installed package; needs a checkout of the repository."
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return doc.splitlines()[0].replace("``", "") if doc else ""


app = typer.Typer(
    cls=LazyGroup,
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"equitrade {version('equitrade')}")
        raise typer.Exit


@app.callback()
def root(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Approximately equivariant reinforcement learning for portfolios and control.

    Start with `equitrade demo`. Every command has --help; commands that print results have --json.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input ends with a one-line reason and exit code 2."""
    sys.exit(run(None if arguments is None else list(arguments)))


def run(arguments: list[str] | None) -> int:
    """Run one command and return its exit code; errors of the user are printed on one line."""
    return run_command(app, arguments, "equitrade")


if __name__ == "__main__":
    main()
