"""Tests of the yfinance provider with the real library and a local server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import DataError, SnapshotStore
from data.providers.fetch_options import FetchHooks, FetchOptions
from data.providers.yahoo import fetch
from data.quality.pipeline import CheckOptions

NOW = datetime(2024, 6, 3, 12, tzinfo=UTC)


class FakeTime:
    """Clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds

    def clock(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection to another machine is an error (curl resolves names itself: the session is watched too)."""
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise AssertionError(f"a test connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)
    from curl_cffi import requests

    request = requests.Session.request

    def watched(self: Any, method: str, url: str, *rest: Any, **options: Any) -> Any:
        assert url.startswith("http://127.0.0.1:"), f"a test asks {url}"
        return request(self, method, url, *rest, **options)

    monkeypatch.setattr(requests.Session, "request", watched)


@pytest.fixture
def days(sessions: Callable[[str, str], pd.DatetimeIndex]) -> pd.DatetimeIndex:
    return sessions("2024-01-02", "2024-03-28")


@pytest.fixture
def run(chart_server: Any, store: SnapshotStore) -> Callable[..., Any]:
    """Fetch symbols from the local server with a fake clock."""

    def runner(*symbols: str, name: str = "snap", checks: CheckOptions | None = None, **options: Any) -> Any:
        time = options.pop("time", FakeTime())
        progress = options.pop("on_progress", lambda *_: None)
        settings = {"start": "2024-01-02", "end": "2024-03-28", "base_url": chart_server.url, **options}
        return fetch(
            name,
            FetchOptions(symbols=symbols, **settings),
            store,
            checks=checks,
            hooks=FetchHooks(time.sleep, time.clock, lambda: NOW, progress),
        )

    return runner


def walk(seed: int, length: int) -> np.ndarray:
    return np.round(100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, length))), 4)


def test_a_normal_answer_becomes_a_snapshot_with_raw_and_adjusted_prices(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any, store: SnapshotStore
) -> None:
    close = {"AAA": walk(1, len(days)), "^BBB": walk(2, len(days))}
    factor = np.linspace(0.9, 1.0, len(days))
    for symbol, prices in close.items():
        chart_server.answers[symbol] = [answer(body=make_chart(symbol, days, prices, factor=factor))]
    snapshot, result = run("AAA", "^bbb")
    prices = store.load("snap")
    assert prices.symbols == ("AAA", "^BBB")
    assert list(prices.dates) == list(days)
    np.testing.assert_allclose(prices.close.to_numpy(), np.stack(list(close.values()), axis=1))
    np.testing.assert_allclose(prices.fields["adj_close"]["AAA"], close["AAA"] * factor)
    np.testing.assert_allclose(prices.adjusted("open")["AAA"], close["AAA"] * 0.99 * factor)
    assert prices.has_opens
    assert result.report.counts() == {}
    provider = snapshot.manifest["provider"]
    assert provider["name"] == "yfinance"
    assert provider["options"]["end"] == "2024-03-28"
    assert any("survivorship" in note for note in prices.notes)


def test_splits_and_dividends_are_kept(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any, store: SnapshotStore
) -> None:
    body = make_chart(
        "AAA",
        days,
        walk(3, len(days)),
        dividends={"2024-02-09": 0.24},
        splits={"2024-03-04": (4, 1)},
    )
    chart_server.answers["AAA"] = [answer(body=body)]
    run("AAA")
    prices = store.load("snap")
    dividends, splits = prices.fields["dividends"]["AAA"], prices.fields["splits"]["AAA"]
    assert dividends[dividends != 0].to_dict() == {pd.Timestamp("2024-02-09"): 0.24}
    assert splits[splits != 1].to_dict() == {pd.Timestamp("2024-03-04"): 4.0}


def test_429_and_5xx_are_tried_again_with_growing_waits(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any
) -> None:
    good = answer(body=make_chart("AAA", days, walk(4, len(days))))
    chart_server.answers["AAA"] = [
        answer(429, "Too Many Requests"),
        answer(503, "busy", {"Retry-After": "17"}),
        answer(500, {"chart": None}),
        good,
    ]
    time = FakeTime()
    snapshot, _ = run("AAA", time=time, first_wait=2.0, pause=0.0)
    assert snapshot.written
    assert chart_server.charts("AAA") == 4
    # 2 s; what the server asked for instead of 4 s; 8 s.
    assert time.sleeps == [2.0, 17.0, 8.0]


def test_a_server_that_stays_busy_is_given_up_and_nothing_is_written(
    run: Callable[..., Any], chart_server: Any, answer: Any, store: SnapshotStore
) -> None:
    chart_server.answers["AAA"] = [answer(502, "bad gateway")]
    with pytest.raises(DataError, match=r"AAA: no proper answer in 3 attempts: HTTP status 502"):
        run("AAA", attempts=3)
    assert store.names() == []


def test_a_truncated_body_is_tried_again(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any, store: SnapshotStore
) -> None:
    body = make_chart("AAA", days, walk(5, len(days)))
    cut_in_transit = answer(body=body, cut=500)
    cut_before = answer(body=str(body).replace("'", '"')[:700])
    chart_server.answers["AAA"] = [cut_in_transit, cut_before, answer(body=body)]
    run("AAA")
    assert chart_server.charts("AAA") == 3
    assert len(store.load("snap")) == len(days)


def test_a_symbol_without_prices_stops_the_fetch_or_is_noted(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any, store: SnapshotStore
) -> None:
    chart_server.answers["AAA"] = [answer(body=make_chart("AAA", days, walk(6, len(days))))]
    with pytest.raises(
        DataError, match=r"1 of 2 symbols have no prices: GONE: No data found.*--skip-missing"
    ):
        run("AAA", "GONE")
    assert store.names() == []
    snapshot, _ = run("AAA", "GONE", skip_missing=True)
    assert snapshot.manifest["symbols"] == ["AAA"]
    assert "GONE" in snapshot.manifest["provider"]["missing"]
    assert any("GONE" in note for note in store.load("snap").notes)


def test_an_empty_range_of_a_known_symbol_is_no_prices(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any
) -> None:
    body = make_chart("AAA", days[:0], [])
    body["chart"]["result"][0]["indicators"] = {"quote": [{}], "adjclose": [{}]}
    del body["chart"]["result"][0]["timestamp"]
    chart_server.answers["AAA"] = [answer(body=body)]
    with pytest.raises(DataError, match="AAA"):
        run("AAA")


def test_a_stopped_fetch_goes_on_with_the_symbols_that_are_left(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any, store: SnapshotStore
) -> None:
    for seed, symbol in enumerate(("AAA", "BBB")):
        chart_server.answers[symbol] = [answer(body=make_chart(symbol, days, walk(seed, len(days))))]
    chart_server.answers["CCC"] = [answer(503, "busy")]
    with pytest.raises(DataError, match="CCC"):
        run("AAA", "BBB", "CCC", attempts=2)
    chart_server.answers["CCC"] = [answer(body=make_chart("CCC", days, walk(9, len(days))))]
    seen = []
    run("AAA", "BBB", "CCC", on_progress=lambda *what: seen.append(what))
    assert chart_server.charts("AAA") == 1
    assert chart_server.charts("BBB") == 1
    assert [what[3] for what in seen] == ["already stored", "already stored", f"{len(days)} sessions"]
    assert store.load("snap").symbols == ("AAA", "BBB", "CCC")
    assert not list(store.directory.glob(".fetch-*"))


def test_requests_keep_their_distance(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any
) -> None:
    for symbol in ("AAA", "BBB"):
        chart_server.answers[symbol] = [answer(body=make_chart(symbol, days, walk(1, len(days))))]
    time = FakeTime()
    run("AAA", "BBB", time=time, pause=1.5)
    # The fake clock stands still but for the waits: every request but the first waits out the pause.
    assert time.seconds == pytest.approx(1.5 * (len(chart_server.requests) - 1))


def test_a_refetch_makes_a_new_version_and_says_what_differs(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any, store: SnapshotStore
) -> None:
    close = walk(7, len(days))
    chart_server.answers["AAA"] = [answer(body=make_chart("AAA", days, close))]
    first, _ = run("AAA")
    again, _ = run("AAA")
    assert not again.written
    close[3] *= 1.02
    chart_server.answers["AAA"] = [answer(body=make_chart("AAA", days, close))]
    second, _ = run("AAA")
    assert (second.reference, second.written) == ("snap@2", True)
    assert any(line.startswith("close: 1 values changed since snap") for line in second.differences)
    assert store.load("snap@1").hash == first.manifest["hash"]


def test_prices_in_two_currencies_stop_the_fetch_unless_accepted(
    run: Callable[..., Any], chart_server: Any, make_chart: Any, answer: Any, days: Any, store: SnapshotStore
) -> None:
    chart_server.answers["AAA"] = [answer(body=make_chart("AAA", days, walk(1, len(days))))]
    chart_server.answers["EUX"] = [
        answer(body=make_chart("EUX", days, walk(2, len(days)), currency="EUR", zone="Europe/Berlin"))
    ]
    with pytest.raises(DataError, match=r"EUX .*in EUR, rows before are in USD.*--allow mixed-currency"):
        run("AAA", "EUX")
    run("AAA", "EUX", checks=CheckOptions(allow=("mixed-currency",)))
    assert any("not simultaneous" in note for note in store.load("snap").notes)


def test_the_close_of_today_is_left_out(
    run: Callable[..., Any],
    chart_server: Any,
    make_chart: Any,
    answer: Any,
    sessions: Any,
    store: SnapshotStore,
) -> None:
    days = sessions("2024-05-01", "2024-06-03")
    chart_server.answers["AAA"] = [answer(body=make_chart("AAA", days, walk(8, len(days))))]
    run("AAA", start="2024-05-01", end=None)
    assert store.load("snap").dates[-1] == pd.Timestamp("2024-05-31")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"start": "2024-05-01", "end": "2024-04-01"}, "after end"),
        ({"start": "soon"}, "start: 'soon' is not a date"),
    ],
)
def test_wrong_ranges_are_refused_before_anything_is_asked(
    run: Callable[..., Any], chart_server: Any, options: dict[str, str], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        run("AAA", **options)
    assert chart_server.requests == []


def test_wrong_symbols_and_names_are_refused(run: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="named twice"):
        run("AAA", "aaa")
    with pytest.raises(DataError, match="no symbol"):
        run("")
    with pytest.raises(DataError, match="bundled"):
        run("AAA", name="sp500-20")
