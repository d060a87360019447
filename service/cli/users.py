"""Create, list and remove users of the dashboards."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from data.errors import DataError
from equitrade.console import HomeOption, JsonOption, say, show, text_table
from service.cli.common import ConfigOption, ScopesOption, opened

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name to log in with.")],
    scopes: ScopesOption = "read",
    from_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Create a user, or change the password of one; the command asks for the password."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif not sys.stdin.isatty():
        raise DataError("there is no terminal to ask for the password; send it with --password-stdin")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    with opened(config, home) as state:
        state.users.create(name, password, scopes.split(","))
    say(f"{name} can log in at /login")


@app.command("list")
def list_users(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the users."""
    with opened(config, home) as state:
        found = state.users.all()
    values = [{"name": name, "scopes": scopes.split(","), "created_at": at} for name, scopes, at in found]
    rows = [(name, scopes, f"{at:%Y-%m-%d}") for name, scopes, at in found]
    show(
        as_json,
        values,
        text_table(("name", "scopes", "created"), rows, "no users yet; `equitrade users create NAME`"),
    )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of a user.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Remove a user and end its logins."""
    with opened(config, home) as state:
        state.users.remove(name)
    say(f"{name} can no longer log in")
