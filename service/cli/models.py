"""Promote runs to served models, retire and list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, say, show, text_table
from service.cli.common import ConfigOption, opened

if TYPE_CHECKING:
    from service.models.registry import Promoted

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="Name or path of a run that was backtested out of sample.")],
    model: Annotated[
        str | None, typer.Option("--id", help="Id to serve it under; default: its name.")
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a run, copy the files that inference needs, and serve it from the next request on."""
    from trading_app.runs.run import open_run

    with opened(config, home) as state:
        promoted = state.registry.promote(open_run(run, state.settings.home).path, model)
    show(
        as_json,
        _payload(promoted),
        [f"{promoted.id}: version {promoted.version} of run {promoted.run} is served"],
    )
    say("next: `equitrade keys create --name NAME`, then `equitrade serve`")


@app.command()
def retire(
    model: Annotated[str, typer.Argument(help="Id of a model.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Stop serving a model; its files remain as long as the audit refers to them."""
    with opened(config, home) as state:
        state.registry.retire(model)
    say(f"{model} is retired")


@app.command("list")
def list_models(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the models that are served."""
    with opened(config, home) as state:
        served = state.registry.served()
    rows = [
        (m.id, m.version, m.run, m.evidence.agent, m.evidence.data, f"{m.promoted_at:%Y-%m-%d %H:%M}")
        for m in served
    ]
    lines = text_table(
        ("model", "version", "run", "agent", "data", "promoted (UTC)"), rows, "no model is promoted yet"
    )
    show(as_json, [_payload(m) for m in served], lines)


def _payload(promoted: Promoted) -> dict[str, Any]:
    return promoted.summary() | {"seeds": list(promoted.evidence.seeds)}
