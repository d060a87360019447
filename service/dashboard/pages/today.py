"""The page *Today*: target weights of each promoted model, the changes, and the newest answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from datetime import date
from typing import Any

import pandas as pd
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from service.api.dependencies import ModelId, StateDep
from service.core.problems import Problem
from service.dashboard.figures import Gallery, PageFigure, figure_file, gallery
from service.dashboard.holdings import UNITS, HeldText, read_holdings, write_holdings
from service.dashboard.layout import page_router
from service.dashboard.pages.login import CheckedForm, LoggedIn
from service.dashboard.render import page
from service.decisions.audit import AuditRow
from service.models.registry import Promoted
from service.schemas.decisions import AllocationRequest
from service.state import State
from trading_app.evaluation.labels import MEASURES, format_measure, format_number
from trading_app.report.figures import allocation as figures
from trading_app.report.tables import Cell, Table, interval_text

PATH, TITLE = "/dashboard", "Today"
router = page_router()

#: How far back the last target of another session is looked for, and how much of the audit is shown.
_BACK, _SHOWN = 100, 20
_MEASURES = ("sharpe", "cagr", "max_drawdown")


@dataclass(frozen=True)
class Card:
    """One promoted model as shown: its newest answer, and the newest one about an earlier session, if there are any.

    `table` is asset × weight, spread, before, held. `age` counts days since the close that was decided on. `holdings`
    are those of the newest request, if it had any. `problem` is the reason why nothing can be asked for.
    """

    model: Promoted
    allocation: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    asked_at: str = ""
    age: int | None = None
    holdings: Mapping[str, Any] | None = None
    prices_end: date | None = None
    problem: str = ""
    table: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def held_known(self) -> bool:
        """Return whether there is something to hold the target against."""
        return self.holdings is not None

    @property
    def held(self) -> HeldText:
        """The holdings as the form shows them."""
        return write_holdings(self.holdings)


@router.get(PATH)
async def today(request: Request, state: StateDep, _session: LoggedIn) -> Response:
    """Show the promoted models and the newest rows of the audit."""
    return page(request, "today.html", await state.run(_context, state))


@router.get("/dashboard/today/{model}/figures/{file}")
async def today_figure(
    model: ModelId, file: str, request: Request, state: StateDep, _session: LoggedIn
) -> Response:
    """Answer with one figure of a model's newest allocation, or its data."""

    def answer() -> Response:
        return figure_file(request, _figures(_card(state, state.registry.current(model))), file)

    return await state.run(answer)


@router.get("/dashboard/answers/{record_id}")
async def answer_page(record_id: str, request: Request, state: StateDep, _session: LoggedIn) -> Response:
    """Show one row of the audit: a request and its answer."""
    record = await state.run(state.audit.get, record_id)
    if record is None:
        raise Problem("not-found", f"there is no answer with the id {record_id[:40]!r}")
    texts = {
        "asked": json.dumps(record.request, indent=2, ensure_ascii=False),
        "answer": json.dumps(json.loads(record.answer), indent=2, ensure_ascii=False),
    }
    return page(request, "answer.html", {"record": record, **texts})


@router.post("/dashboard/ask")
async def ask(request: Request, state: StateDep, session: LoggedIn, form: CheckedForm) -> Response:
    """Ask a model for its allocation, as a program would: it is recorded in the audit.

    Without ``held`` in the form, the holdings are those of the last request. Holdings that cannot be used are
    shown again with the reason.
    """
    model = str(form.get("model", ""))[:100]
    typed = (
        HeldText(*(str(form.get(name, "")) for name in ("held", "unit", "cash"))) if "held" in form else None
    )
    state.rate_limits.spend("requests", session.principal.id)
    request_id = request.scope["state"]["request_id"]
    try:
        given = None if typed is None else read_holdings(*astuple(typed))
        for body in await state.run(_bodies, state, model, given):
            await state.decide(body, key_id=session.principal.id, request_id=request_id)
    except (Problem, ValidationError) as error:
        if typed is None:
            raise
        context = await state.run(_context, state) | {"typed": {model: typed}, "message": _reason(error)}
        return page(request, "today.html", context, status=422)
    return RedirectResponse(f"{PATH}#model-{model}", status_code=303)


def _bodies(state: State, model: str, given: dict[str, Any] | None) -> list[AllocationRequest]:
    """Requests for the newest session and, where it has no allocation yet, for the one before."""
    promoted = state.registry.current(model)
    dates = state.snapshots.get(promoted.evidence.data).dates
    _, before, holdings = _newest(state, promoted)
    days = [dates[-2].date()] if before is None and len(dates) > 1 else []
    asked = {"model": model, "holdings": holdings if given is None else given, "allow_stale": True}
    return [
        AllocationRequest.model_validate(asked | {"as_of": day and f"{day:%Y-%m-%d}"})
        for day in (*days, None)
    ]


def _context(state: State) -> dict[str, Any]:
    cards = [_card(state, promoted) for promoted in state.registry.served()]
    return {
        "cards": cards,
        "galleries": {card.model.id: _gallery(card) for card in cards},
        "holdings": {card.model.id: _table(card) for card in cards if card.allocation},
        "evidence": {card.model.id: _evidence(card.model) for card in cards},
        "given": state.audit.latest(limit=_SHOWN),
        "jobs": state.jobs.counts(),
        "units": UNITS,
        "typed": {},
        "message": "",
        "percent": lambda value, digits=1: format_number(value, "percent", digits),
    }


def _reason(error: Problem | ValidationError) -> str:
    if isinstance(error, Problem):
        return error.detail
    found = error.errors()[0]
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"


def _card(state: State, promoted: Promoted) -> Card:
    try:
        prices_end = state.snapshots.get(promoted.evidence.data).dates[-1].date()
        problem = ""
    except Problem as error:
        prices_end, problem = None, error.detail
    newest, before, holdings = _newest(state, promoted)
    if newest is None:
        return Card(promoted, prices_end=prices_end, problem=problem)
    allocation = json.loads(newest.answer)
    earlier = json.loads(before.answer) if before else None
    table = pd.DataFrame({"weight": allocation["weights"], "spread": allocation["per_seed_spread"]})
    table["before"] = pd.Series(earlier["weights"] if earlier else {}, dtype=float).reindex(table.index)
    held = {order["symbol"]: order["held_weight"] for order in allocation["orders"]} if holdings else {}
    table["held"] = pd.Series(held, dtype=float).reindex(table.index)
    return Card(
        promoted,
        allocation,
        earlier,
        f"{newest.created_at:%Y-%m-%d %H:%M} UTC",
        (state.clock().date() - newest.as_of).days,
        holdings,
        prices_end,
        problem,
        table.rename_axis("symbol"),
    )


def _newest(state: State, promoted: Promoted) -> tuple[AuditRow | None, AuditRow | None, Any]:
    """The allocation of the newest session, one of an earlier session, and the holdings of the newest."""
    records = [r for r in state.audit.latest(limit=_BACK, model_id=promoted.id) if r.kind == "allocation"]
    newest = max(records, key=lambda record: (record.as_of, record.created_at), default=None)
    if newest is None:
        return None, None, None
    earlier = [record for record in records if record.as_of < newest.as_of]
    before = max(earlier, key=lambda record: (record.as_of, record.created_at), default=None)
    return newest, before, newest.request.get("holdings")


def _figures(card: Card) -> list[PageFigure]:
    if card.allocation is None:
        return []
    table, as_of = card.table, str(card.allocation["as_of"])
    before = str(card.before["as_of"]) if card.before else None
    made = [
        PageFigure(
            f"allocation-{_slug(card)}",
            "Allocation",
            lambda theme: figures.allocation_bars(table, as_of=as_of, before=before, theme=theme),
            lambda: table,
            False,
            510,
        )
    ]
    if table[["before", "held"]].notna().any(axis=None):
        made.append(
            PageFigure(
                f"change-{_slug(card)}",
                "To trade",
                lambda theme: figures.change_bars(table, before=before, theme=theme),
                lambda: table,
                False,
                510,
            )
        )
    return made


def _gallery(card: Card) -> Gallery:
    return gallery(_figures(card), f"/dashboard/today/{card.model.id}/figures")


def _slug(card: Card) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in card.model.id.lower())


def _table(card: Card) -> Table:
    assert card.allocation is not None
    orders = {order["symbol"]: order for order in card.allocation["orders"]}
    sized = any(order["shares"] is not None for order in orders.values())
    columns = (
        "Target",
        "Spread over seeds",
        "Last target",
        "Held",
        "To trade",
        *(("Shares",) if sized else ()),
    )
    order = card.table["weight"].abs().sort_values(ascending=False, kind="stable").index
    rows = []
    for symbol in order:
        row = card.table.loc[symbol]
        texts = [
            format_number(float(row[name]), "percent", 2) for name in ("weight", "spread", "before", "held")
        ]
        change = float(orders[symbol]["weight_change"]) if card.held_known else None
        texts.append(format_number(change, "percent", 2))
        if sized:
            shares = orders[symbol]["shares"]
            texts.append(format_number(shares, "ratio", 0 if shares is None or shares == int(shares) else 3))
        rows.append((str(symbol), tuple(Cell(text) for text in texts)))
    return Table(f"Weights of {card.model.id}, all {len(order)} assets", columns, tuple(rows))


def _evidence(model: Promoted) -> list[tuple[str, str, str]]:
    found = []
    for name in _MEASURES:
        figure = model.evidence.metrics.get(name)
        if figure is None:
            continue
        bounds = [figure.get("low"), figure.get("high")]
        found.append(
            (MEASURES[name].label, format_measure(name, figure.get("value")), interval_text(name, bounds))
        )
    return found
