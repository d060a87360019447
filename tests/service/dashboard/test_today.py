"""The page *Today*: the newest allocation, what changed, how old it is, and what was given out."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest


def ask(desk: Any, **body: Any) -> dict[str, Any]:
    answer = desk.service.client.post(
        "/api/v1/allocations", json={"model": "toy", **body}, headers=desk.service.key()
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def table(desk: Any) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(desk.get("/dashboard/today/toy/figures/allocation-toy.csv")), index_col=0)


def test_model_without_an_allocation_offers_to_ask(desk: Any) -> None:
    text = desk.get("/dashboard")
    assert "No allocation was asked for yet" in text
    assert "Ask now" in text
    answer = desk.post("/dashboard/ask", model="toy")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard#model-toy")
    records = desk.service.state.audit.latest()
    assert [str(record.as_of) for record in records] == ["2024-03-28", "2024-03-27"]
    assert {record.key_id for record in records} == {"user:ann"}
    desk.post("/dashboard/ask", model="toy")
    assert len(desk.service.state.audit.latest()) == 3


def test_allocation_is_shown_with_its_spread_and_change(desk: Any) -> None:
    before = ask(desk, as_of="2024-03-27")
    now = ask(desk, holdings={"weights": {"AAA": 0.25}})
    shown = table(desk)
    for symbol in ("AAA", "BBB", "CCC"):
        assert shown.loc[symbol, "weight"] == now["weights"][symbol]
        assert shown.loc[symbol, "spread"] == now["per_seed_spread"][symbol]
        assert shown.loc[symbol, "before"] == before["weights"][symbol]
    assert list(shown["held"]) == [0.25, 0, 0]
    figure = desk.figure("/dashboard/today/toy/figures/change-toy.json")
    assert "against holdings" in figure["title"]
    assert "2024-03-28" in desk.figure("/dashboard/today/toy/figures/allocation-toy.json")["title"]


def test_newest_session_counts_not_the_newest_answer(desk: Any) -> None:
    ask(desk)
    ask(desk, as_of="2024-03-21")
    assert '<span class="big date">2024-03-28</span>' in desk.get("/dashboard")


def test_fresh_allocation_is_marked(desk: Any) -> None:
    ask(desk)
    text = desk.get("/dashboard")
    assert "0 days old" in text
    assert "tag good" in text


def test_old_allocation_is_called_stale(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(desk)
    later = desk.service.clock.now + timedelta(days=40)
    monkeypatch.setattr(desk.service.state, "clock", lambda: later)
    assert "stale: 40 days old" in desk.get("/dashboard")


def test_warnings_and_the_runs_notes_are_shown(desk: Any) -> None:
    ask(desk)
    text = desk.get("/dashboard")
    assert "no holdings given" in text
    assert "a toy" in text
    assert "told no holdings" in text


def test_signals_do_not_stand_for_allocations(desk: Any) -> None:
    desk.service.client.post("/api/v1/signals", json={"model": "toy"}, headers=desk.service.key())
    text = desk.get("/dashboard")
    assert "No allocation was asked for yet" in text
    assert "signal" in text


def test_row_of_the_audit_can_be_opened(desk: Any) -> None:
    given = ask(desk)
    text = desk.get(f"/dashboard/given/{given['id']}")
    assert given["data_hash"] in text
    assert "per_seed_spread" in text
    desk.get("/dashboard/given/nope", 404)


def test_asking_needs_the_forms_token(desk: Any) -> None:
    answer = desk.service.client.post("/dashboard/ask", data={"model": "toy"})
    assert answer.status_code == 403
    assert "open the page again" in answer.text
    assert desk.service.state.audit.latest() == []
    assert desk.post("/dashboard/ask", model="nope").status_code == 404
