"""Allocations and signals: what is answered, and every way a request can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices, SnapshotStore

URL = "/api/v1/allocations"
SYMBOLS = ("AAA", "BBB", "CCC")


def panel(days: int = 8, end: str = "2024-03-28", **changes: Any) -> dict[str, Any]:
    dates = [str(day.date()) for day in pd.bdate_range(end=end, periods=days)]
    close = {symbol: [100.0 + i + k for i in range(days)] for k, symbol in enumerate(SYMBOLS)}
    return {"dates": dates, "close": close, **changes}


def test_weights_and_cash_sum_to_one_and_as_of_is_the_last_session(service: Any) -> None:
    answer = service.client.post(URL, json={"model": "toy"}, headers=service.key()).json()
    assert sum(answer["weights"].values()) + answer["cash"] == pytest.approx(1, abs=1e-12)
    assert answer["as_of"] == "2024-03-28"
    assert answer["staleness_days"] == 0
    # Good Friday and the weekend are no sessions.
    assert answer["trade_at"] == {"session": "2024-04-01", "price": "close"}
    assert answer["data"] == "toy"
    assert answer["version"] == service.state.registry.current("toy").version
    assert set(answer["per_seed_spread"]) == set(SYMBOLS)


def test_same_weights_as_the_policy(service: Any) -> None:
    held = {"AAA": 0.25, "BBB": 0.1}
    answer = service.client.post(
        URL,
        json={"model": "toy", "as_of": "2024-03-01", "holdings": {"weights": held}},
        headers=service.key(),
    ).json()
    promoted = service.state.registry.current("toy")
    policy = service.state.registry.policy("toy", promoted.version)
    prices = service.state.snapshots.get("toy")
    expected = policy.decide(prices, pd.Timestamp("2024-03-01"), np.array([[0.25, 0.1, 0.0]]))[:, 0]
    assert list(answer["weights"].values()) == expected.mean(axis=0).tolist()
    assert list(answer["per_seed_spread"].values()) == expected.std(axis=0).tolist()


def test_other_symbols_are_decided_by_the_policy_on_them(service: Any) -> None:
    close = service.state.snapshots.get("toy").fields["close"]
    wide = Prices.from_frames("wide", close=close.assign(DDD=close["BBB"] * 1.01))
    SnapshotStore(service.home).save(wide, "wide", provider={"name": "test"})
    symbols = ("DDD", "CCC", "AAA")
    body = {"model": "toy", "data": "wide", "symbols": symbols, "holdings": {"weights": {"DDD": 0.2}}}
    for _ in range(2):  # the second time from memory
        answer = service.client.post(URL, json=body, headers=service.key()).json()
        policy = service.state.registry.policy("toy", answer["version"]).on_symbols(symbols)
        held = np.array([[0.2, 0.0, 0.0]])
        expected = policy.decide(wide.select(symbols), pd.Timestamp("2024-03-28"), held)[:, 0]
        assert list(answer["weights"]) == list(symbols)
        assert list(answer["weights"].values()) == expected.mean(axis=0).tolist()
        assert answer["untrained"] == ["DDD"]
        assert answer["warnings"] == ["untrained: the model has not seen DDD"]
        assert answer["orders"][0]["held_weight"] == 0.2
    own = service.client.post(URL, json={"model": "toy", "data": "wide"}, headers=service.key()).json()
    assert list(own["weights"]) == list(SYMBOLS)
    assert "untrained" not in own


def test_as_of_without_a_session_uses_the_one_before(service: Any) -> None:
    answer = service.client.post(
        URL, json={"model": "toy", "as_of": "2024-03-24"}, headers=service.key()
    ).json()
    assert answer["as_of"] == "2024-03-22"
    assert answer["staleness_days"] == 2
    assert answer["trade_at"]["session"] == "2024-03-25"


def test_later_prices_do_not_change_an_earlier_decision(service: Any) -> None:
    body = {"model": "toy", "prices": panel(), "as_of": "2024-03-26"}
    first = service.client.post(URL, json=body, headers=service.key()).json()
    for symbol in SYMBOLS:
        body["prices"]["close"][symbol][-2:] = [1.0, 500.0]
    second = service.client.post(URL, json=body, headers=service.key()).json()
    assert first["weights"] == second["weights"]
    assert first["data_hash"] != second["data_hash"]


def test_prices_in_the_request_give_the_same_as_the_same_prices_in_a_snapshot(service: Any) -> None:
    prices = service.state.snapshots.get("toy")
    close = {symbol: prices.fields["close"][symbol].tolist() for symbol in SYMBOLS}
    given = {"dates": [str(day.date()) for day in prices.dates], "close": close}
    header = service.key()
    named = service.client.post(URL, json={"model": "toy"}, headers=header).json()
    sent = service.client.post(URL, json={"model": "toy", "prices": given}, headers=header).json()
    for name in ("weights", "cash", "data_hash", "as_of", "trade_at"):
        assert named[name] == sent[name]
    assert sent["data"] == "request"


def test_orders_are_target_minus_held(service: Any) -> None:
    held = {"AAA": 0.4, "CCC": -0.1}
    answer = service.client.post(
        URL, json={"model": "toy", "holdings": {"weights": held}}, headers=service.key()
    ).json()
    for order in answer["orders"]:
        assert order["held_weight"] == held.get(order["symbol"], 0.0)
        assert order["weight_change"] == order["target_weight"] - order["held_weight"]
        assert order["shares"] is None


def test_shares_come_in_lots_and_never_overspend(service: Any) -> None:
    body = {
        "model": "toy",
        "holdings": {"shares": {"AAA": 130, "BBB": 20}, "cash": 1234.5},
        "sizing": {"lot_size": 10, "lot_sizes": {"CCC": 1}},
    }
    answer = service.client.post(URL, json=body, headers=service.key()).json()
    spent = 0.0
    for order in answer["orders"]:
        lot = 1 if order["symbol"] == "CCC" else 10
        assert order["shares"] % lot == 0
        assert order["value"] == order["shares"] * order["price"]
        spent += order["value"] + 3e-4 * abs(order["value"])
    assert answer["cash_after"] == pytest.approx(1234.5 - spent)
    assert answer["cash_after"] >= 0


def test_nav_sizes_orders_of_an_account_in_cash(service: Any) -> None:
    body = {"model": "toy", "sizing": {"nav": 100_000.0}}
    answer = service.client.post(URL, json=body, headers=service.key()).json()
    for order in answer["orders"]:
        assert 0 <= order["target_weight"] * 100_000 - order["value"] <= order["price"] + 1e-6


def test_old_prices_are_refused_unless_asked_for(service: Any, kind_of: Any) -> None:
    service.clock.now = datetime(2024, 4, 5, tzinfo=UTC)
    header = service.key()
    answer = service.client.post(URL, json={"model": "toy"}, headers=header)
    assert (answer.status_code, kind_of(answer)) == (422, "stale-data")
    assert answer.json()["staleness_days"] == 8
    answer = service.client.post(URL, json={"model": "toy", "allow_stale": True}, headers=header)
    assert answer.status_code == 200
    assert any(line.startswith("stale") for line in answer.json()["warnings"])


def test_an_asked_for_day_far_past_the_prices_is_stale_too(service: Any, kind_of: Any) -> None:
    answer = service.client.post(URL, json={"model": "toy", "as_of": "2024-06-03"}, headers=service.key())
    assert kind_of(answer) == "stale-data"


def test_a_past_day_is_answered_and_said_to_be_past(service: Any) -> None:
    service.clock.now += timedelta(days=400)
    body = {"model": "toy", "as_of": "2024-03-28"}
    answer = service.client.post(URL, json=body, headers=service.key()).json()
    assert answer["staleness_days"] == 0
    assert any(line.startswith("historical") for line in answer["warnings"])


def test_notes_of_the_prices_are_warnings(service: Any) -> None:
    prices = service.state.snapshots.get("toy")
    noted = Prices.from_frames("noted", close=prices.fields["close"], notes=("handle with care",))
    SnapshotStore(service.home).save(noted, "noted", provider={"name": "test"})
    answer = service.client.post(URL, json={"model": "toy", "data": "noted"}, headers=service.key()).json()
    assert "handle with care" in answer["warnings"]


def test_a_new_version_of_a_snapshot_is_used_at_once_and_the_old_by_its_number(service: Any) -> None:
    header = service.key()
    before = service.client.post(URL, json={"model": "toy"}, headers=header).json()
    prices = service.state.snapshots.get("toy")
    raised = Prices.from_frames("toy", close=prices.fields["close"] * 1.5)
    SnapshotStore(service.home).save(raised, "toy", provider={"name": "test"})
    after = service.client.post(URL, json={"model": "toy"}, headers=header).json()
    again = service.client.post(URL, json={"model": "toy", "data": "toy@1"}, headers=header).json()
    assert after["data_hash"] == raised.hash != before["data_hash"]
    assert again["data_hash"] == before["data_hash"]


def replaced(symbol: str, row: int, value: Any) -> dict[str, Any]:
    given = panel()
    given["close"][symbol][row] = value
    return given


def swapped() -> dict[str, Any]:
    given = panel()
    given["dates"][2], given["dates"][3] = given["dates"][3], given["dates"][2]
    return given


def test_symbol_without_a_trade_is_valued_at_its_last_price_and_has_no_order(service: Any) -> None:
    account = {"shares": {"AAA": 4, "BBB": 5}, "cash": 100.0}
    body = {"model": "toy", "prices": replaced("BBB", -1, None), "holdings": account, "sizing": {}}
    answer = service.client.post(URL, json=body, headers=service.key())
    assert answer.status_code == 200, answer.text
    members = answer.json()
    orders = {order["symbol"]: order for order in members["orders"]}
    last = body["prices"]["close"]["BBB"][-2]
    worth = 100.0 + 4 * body["prices"]["close"]["AAA"][-1] + 5 * last
    assert members["untraded"] == ["BBB"]
    assert any("BBB" in warning for warning in members["warnings"])
    assert orders["BBB"]["held_weight"] == orders["BBB"]["target_weight"] == pytest.approx(5 * last / worth)
    assert (orders["BBB"]["weight_change"], orders["BBB"]["shares"], orders["BBB"]["price"]) == (0, 0, last)
    assert sum(order["target_weight"] for order in orders.values()) <= 1 + 1e-12
    assert members["cash_after"] >= 0
    record = service.state.audit.get(members["id"])
    assert service.state.decisions.recompute(record) == answer.content


def test_symbol_without_any_price_yet_cannot_be_held(service: Any, kind_of: Any) -> None:
    prices = panel()
    prices["close"]["CCC"] = [None] * len(prices["dates"])
    body = {"model": "toy", "prices": prices, "sizing": {"nav": 1000.0}}
    answer = service.client.post(URL, json=body, headers=service.key()).json()
    order = answer["orders"][2]
    assert (answer["untraded"], order["target_weight"], order["shares"]) == (["CCC"], 0, 0)
    held = body | {"holdings": {"weights": {"CCC": 0.1}}}
    assert kind_of(service.client.post(URL, json=held, headers=service.key())) == "invalid-holdings"


WRONG = {
    "unknown model": ({"model": "nope"}, 404, "unknown-model"),
    "unknown data": ({"data": "nope"}, 404, "unknown-data"),
    "a path is no name": ({"data": "../../etc/passwd"}, 422, "invalid-request"),
    "data and prices": ({"data": "toy", "prices": panel()}, 422, "invalid-request"),
    "unknown member": ({"modle": 1}, 422, "invalid-request"),
    "number for a day": ({"as_of": 20240328}, 422, "invalid-request"),
    "no such day": ({"as_of": "2024-02-31"}, 422, "invalid-request"),
    "negative price": ({"prices": replaced("AAA", 3, -1.0)}, 422, "invalid-prices"),
    "zero price": ({"prices": replaced("AAA", 3, 0)}, 422, "invalid-prices"),
    "text price": ({"prices": replaced("AAA", 3, "1.5")}, 422, "invalid-prices"),
    "unsorted dates": ({"prices": swapped()}, 422, "invalid-prices"),
    "a date twice": ({"prices": panel(dates=["2024-03-28"] * 8)}, 422, "invalid-prices"),
    "ragged": ({"prices": panel(days=8) | {"dates": panel(7)["dates"]}}, 422, "invalid-prices"),
    "no dates": ({"prices": panel() | {"dates": []}}, 422, "invalid-prices"),
    "symbol missing": ({"prices": panel() | {"close": {"AAA": [1.0] * 8}}}, 422, "missing-symbol"),
    "too short": ({"prices": panel(days=4)}, 422, "insufficient-history"),
    "before the first day": ({"as_of": "1999-01-04"}, 422, "insufficient-history"),
    "stale prices": ({"prices": panel(end="2024-03-01")}, 422, "stale-data"),
    "unknown holding": ({"holdings": {"weights": {"ZZZ": 0.1}}}, 422, "unknown-symbol"),
    "unknown lot": ({"sizing": {"nav": 1.0, "lot_sizes": {"ZZZ": 1}}}, 422, "unknown-symbol"),
    "a symbol twice": ({"symbols": ["AAA", "BBB", "AAA"]}, 422, "invalid-request"),
    "no symbols": ({"symbols": []}, 422, "invalid-request"),
    "too few symbols": ({"symbols": ["BBB"]}, 422, "unsupported-symbols"),
    "a symbol without prices": ({"symbols": ["AAA", "ZZZ"]}, 422, "missing-symbol"),
    "holding of another symbol": (
        {"symbols": ["AAA", "BBB"], "holdings": {"weights": {"CCC": 0.1}}},
        422,
        "unknown-symbol",
    ),
    "two forms of holdings": ({"holdings": {"weights": {}, "shares": {}}}, 422, "invalid-holdings"),
    "no form of holdings": ({"holdings": {}}, 422, "invalid-holdings"),
    "cash beside weights": ({"holdings": {"weights": {}, "cash": 1.0}}, 422, "invalid-holdings"),
    "worthless account": ({"holdings": {"shares": {"AAA": -1}, "cash": 0.0}}, 422, "invalid-holdings"),
    "absurd leverage": (
        {"prices": panel(), "holdings": {"shares": {"AAA": 1000, "BBB": -990}}},
        422,
        "invalid-holdings",
    ),
    "no nav": ({"sizing": {}}, 422, "invalid-holdings"),
    "two navs": ({"sizing": {"nav": 1.0}, "holdings": {"shares": {}, "cash": 9.0}}, 422, "invalid-holdings"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("path", ["allocations", "signals"])
def test_wrong_requests_get_the_right_problem(service: Any, kind_of: Any, case: str, path: str) -> None:
    change, status, kind = WRONG[case]
    if path == "signals" and "sizing" in change:
        pytest.skip("signals have no sizing")
    body = {"model": "toy", **change}
    answer = service.client.post(f"/api/v1/{path}", json=body, headers=service.key())
    assert (answer.status_code, kind_of(answer)) == (status, kind), answer.text
    assert service.state.audit.latest() == []


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(service: Any, kind_of: Any, word: str) -> None:
    text = json.dumps({"model": "toy", "prices": replaced("AAA", 3, 424242.0)}).replace("424242.0", word)
    headers = {**service.key(), "Content-Type": "application/json"}
    assert kind_of(service.client.post(URL, content=text, headers=headers)) == "invalid-prices"


@pytest.mark.parametrize(
    "text", ["", "{", "\xff", "[" * 100_000, '{"model": "a\\ud800"}', "null", "9" * 5000]
)
def test_bodies_that_are_not_the_expected_json(service: Any, kind_of: Any, text: str) -> None:
    headers = {**service.key(), "Content-Type": "application/json"}
    answer = service.client.post(URL, content=text.encode("latin-1"), headers=headers)
    assert kind_of(answer) in {"malformed-json", "invalid-request"}
    assert 400 <= answer.status_code < 500


def test_other_media_types_are_refused(service: Any, kind_of: Any) -> None:
    answer = service.client.post(URL, data={"model": "toy"}, headers=service.key())
    assert (answer.status_code, kind_of(answer)) == (415, "unsupported-media-type")


def test_signals_rank_what_the_allocation_holds(service: Any) -> None:
    header = service.key()
    weights = service.client.post(URL, json={"model": "toy"}, headers=header).json()["weights"]
    found = service.client.post("/api/v1/signals", json={"model": "toy"}, headers=header).json()["signals"]
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)
    assert {row["symbol"]: row["weight"] for row in found} == weights
    assert all(row["side"] == ("long" if row["weight"] > 0 else "short") for row in found)
    assert max(abs(row["score"]) for row in found) == pytest.approx(1)
