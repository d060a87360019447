"""List, show, recompute and delete recorded allocations and signals."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from equitrade.console import HomeOption, JsonOption, say, show, text_table
from service.cli.common import ConfigOption, opened

if TYPE_CHECKING:
    from service.decisions.audit import AuditRow
    from service.state import State

app = typer.Typer(help=__doc__, no_args_is_help=True)

AnswerId = Annotated[str, typer.Argument(help="The `id` of an answer.")]


@app.command("list")
def list_answers(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Most to show.")] = 20,
    model: Annotated[str | None, typer.Option("--model", help="Only of this model.")] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List recorded answers, newest first."""
    with opened(config, home) as state:
        found = state.audit.latest(limit=limit, model_id=model)
    rows = [
        (f"{r.created_at:%Y-%m-%d %H:%M:%S}", r.kind, r.model_id, str(r.as_of), r.key_id, r.id) for r in found
    ]
    lines = text_table(("when (UTC)", "kind", "model", "as of", "key", "id"), rows, "no answers yet")
    show(as_json, [{**asdict(r), "answer": json.loads(r.answer)} for r in found], lines)


@app.command("show")
def show_answer(answer: AnswerId, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Show a recorded answer and its request."""
    with opened(config, home) as state:
        record = _find(state, answer)
        value = {
            **asdict(record),
            "request": state.audit.request(record),
            "answer": json.loads(record.answer),
        }
    show(True, value, [])


@app.command()
def recompute(answer: AnswerId, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Compute an answer again with its model version and prices; exit with 1 if it differs."""
    from service.decisions.service import same_answer

    with opened(config, home) as state:
        record = _find(state, answer)
        again = state.decisions.recompute(record)
    if not same_answer(record, again):
        say(f"{answer}: differs from the recorded answer; the recomputed answer is on standard output")
        typer.echo(again.decode())
        raise typer.Exit(1)
    say(f"{answer}: identical, byte for byte")


@app.command()
def prune(
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Age in days; default: service.audit_days.")
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete answers older than a number of days, and model versions and prices that are no longer needed."""
    with opened(config, home) as state:
        limit = days if days is not None else state.settings.service.audit_days
        if limit is None:
            raise typer.BadParameter("give --days, or set service.audit_days")
        count = state.audit.prune(limit)
        removed = state.registry.prune()
    lines = [f"deleted {count} answers older than {limit} days and {len(removed)} unused model versions"]
    show(as_json, {"rows": count, "versions": removed}, lines)


def _find(state: State, answer: str) -> AuditRow:
    from data.errors import DataError

    record = state.audit.get(answer)
    if record is None:
        raise DataError(f"no answer {answer!r} is recorded; `equitrade audit list` shows the newest")
    return record
