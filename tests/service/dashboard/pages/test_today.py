"""The page *Today*: the newest allocation, what changed, its age, and the newest answers."""

from __future__ import annotations

import io
from dataclasses import astuple, replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from service.core.problems import Problem
from service.dashboard.holdings import read_holdings, write_holdings


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
    assert "No allocation yet" in text
    assert "Request allocation" in text
    answer = desk.post("/dashboard/ask", model="toy")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard#model-toy")
    records = desk.service.state.audit.latest()
    assert [str(record.as_of) for record in records] == ["2024-03-28", "2024-03-27"]
    assert {record.key_id for record in records} == {"user:ann"}
    desk.post("/dashboard/ask", model="toy")
    assert len(desk.service.state.audit.latest()) == 3


def test_verdict_is_shown_or_how_to_store_it(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "equitrade models promote toy-run" in desk.get("/dashboard")
    sentence = "Earned less than equal weight after costs."
    served = [
        replace(promoted, evidence=replace(promoted.evidence, verdict=sentence))
        for promoted in desk.service.state.registry.served()
    ]
    monkeypatch.setattr(desk.service.state.registry, "served", lambda: served)
    assert sentence in desk.get("/dashboard")


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
    assert "had no holdings" in text


def test_holdings_are_told_in_the_page_and_kept_for_the_next_time(desk: Any) -> None:
    desk.post("/dashboard/ask", model="toy", held="AAA 25\nBBB\t-10\n", unit="percent")
    assert list(table(desk)["held"]) == [0.25, -0.1, 0]
    assert "AAA 25\nBBB -10</textarea>" in desk.get("/dashboard")
    desk.post("/dashboard/ask", model="toy")
    assert desk.service.state.audit.latest()[0].request["holdings"] == {"weights": {"AAA": 0.25, "BBB": -0.1}}
    desk.post("/dashboard/ask", model="toy", held="AAA 10", unit="shares", cash="500")
    told = desk.service.state.audit.latest()[0].request["holdings"]
    assert (told["shares"], told["cash"]) == ({"AAA": 10}, 500)
    assert "AAA 10</textarea>" in desk.get("/dashboard")
    desk.post("/dashboard/ask", model="toy", held="", unit="percent")
    assert list(table(desk)["held"]) == [0, 0, 0]


def test_holdings_that_cannot_be_read_are_told_by_their_line(desk: Any) -> None:
    answer = desk.post("/dashboard/ask", model="toy", held="AAA 25\nBBB", unit="percent")
    assert (answer.status_code, "holdings, line 2" in answer.text) == (422, True)
    assert "AAA 25\nBBB</textarea>" in answer.text
    strange = desk.post("/dashboard/ask", model="toy", held="XYZ 5", unit="shares")
    assert (strange.status_code, "XYZ" in strange.text) == (422, True)
    strange = desk.post("/dashboard/ask", model="toy", held="AAA 1e14", unit="percent")
    assert (strange.status_code, "AAA 1e14</textarea>" in strange.text) == (422, True)
    assert desk.service.state.audit.latest() == []


@pytest.mark.parametrize(
    ("text", "unit", "cash", "held"),
    [
        ("KO 5.2\nGE: \u22121", "percent", "", {"weights": {"KO": 0.052, "GE": -0.01}}),
        ("KO;100\n\nGE,3\n", "shares", "12.5", {"shares": {"KO": 100.0, "GE": 3.0}, "cash": 12.5}),
        ("KO\t5 %", "percent", "", {"weights": {"KO": 0.05}}),
        ("", "shares", "", {"shares": {}, "cash": 0.0}),
    ],
)
def test_holdings_are_read_as_typed_or_pasted(text: str, unit: str, cash: str, held: Any) -> None:
    found = read_holdings(text, unit, cash)
    assert found == held
    assert read_holdings(*astuple(write_holdings(found))) == held


@pytest.mark.parametrize(
    ("text", "unit", "cash", "reason"),
    [
        ("KO", "percent", "", "line 1"),
        ("KO 1\nKO 2", "shares", "", "twice"),
        ("KO nan", "shares", "", "is not a number"),
        ("KO 1", "percent", "5", "cash goes with shares"),
        ("KO 1", "lots", "", "percent or shares"),
    ],
)
def test_unreadable_holdings_are_refused(text: str, unit: str, cash: str, reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        read_holdings(text, unit, cash)


def test_signals_do_not_stand_for_allocations(desk: Any) -> None:
    desk.service.client.post("/api/v1/signals", json={"model": "toy"}, headers=desk.service.key())
    text = desk.get("/dashboard")
    assert "No allocation yet" in text
    assert "signal" in text


def test_row_of_the_audit_can_be_opened(desk: Any) -> None:
    given = ask(desk)
    text = desk.get(f"/dashboard/answers/{given['id']}")
    assert given["data_hash"] in text
    assert "per_seed_spread" in text
    desk.get("/dashboard/answers/nope", 404)


def test_asking_needs_the_forms_token(desk: Any) -> None:
    answer = desk.service.client.post("/dashboard/ask", data={"model": "toy"})
    assert answer.status_code == 403
    assert "open the page again" in answer.text
    assert desk.service.state.audit.latest() == []
    assert desk.post("/dashboard/ask", model="nope").status_code == 404
