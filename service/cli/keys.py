"""Create, list and revoke the API keys of the service."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from equitrade.console import HomeOption, JsonOption, say, show, text_table
from service.cli.common import ConfigOption, ScopesOption, opened

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Option("--name", help="Name of the program or person that uses the key.")],
    scopes: ScopesOption = "read",
    days: Annotated[
        float | None, typer.Option("--days", help="Days until the key expires; default: never.")
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key and print it; it cannot be shown again."""
    with opened(config, home) as state:
        token, info = state.keys.create(name, scopes.split(","), days=days)
    value = {"key": token, "id": info.id, "scopes": sorted(info.scopes), "expires_at": info.expires_at}
    show(as_json, value, [token])
    say(f"key {info.id} for {info.name}: copy it now, only its hash is stored")


@app.command("list")
def list_keys(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the keys, without their secrets."""
    with opened(config, home) as state:
        found = state.keys.all()
        now = state.clock()
    values = [{**asdict(key), "scopes": sorted(key.scopes), "state": key.state(now)} for key in found]
    rows = [(key.id, key.name, ",".join(key.scopes), key.state(now)) for key in found]
    nothing = "no keys yet; `equitrade keys create --name NAME`"
    show(as_json, values, text_table(("id", "name", "scopes", "state"), rows, nothing))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key, from `equitrade keys list`.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Revoke a key from the next request on."""
    with opened(config, home) as state:
        state.keys.revoke(key)
    say(f"key {key} is revoked")
