"""Fixtures of the data tests: panels, files, and a local server with Yahoo's chart API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from data import Prices, SnapshotStore


def nyse_sessions(start: str, end: str) -> pd.DatetimeIndex:
    """Return the sessions of the New York Stock Exchange."""
    calendar = exchange_calendars.get_calendar("XNYS", start="1989-12-01", end="2026-01-31")
    sessions = calendar.sessions
    return pd.DatetimeIndex(sessions[(sessions >= start) & (sessions <= end)].to_numpy())


@pytest.fixture(scope="session")
def sessions() -> Callable[[str, str], pd.DatetimeIndex]:
    return nyse_sessions


def random_prices(seed: int, length: int, width: int, *, name: str = "random") -> Prices:
    """Return random walks with opens, highs, lows, adjusted closes and volumes."""
    rng = np.random.default_rng(seed)
    dates = nyse_sessions("2001-01-02", "2025-12-31")[:length]
    symbols = [f"S{index}" for index in range(width)]
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (length, width)), axis=0))
    opened = close * np.exp(rng.normal(0, 0.005, close.shape))

    def frame(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, dates, symbols)

    return Prices.from_frames(
        name,
        open=frame(opened),
        high=frame(np.maximum(opened, close) * 1.01),
        low=frame(np.minimum(opened, close) * 0.99),
        close=frame(close),
        adj_close=frame(close * np.linspace(0.8, 1.0, length)[:, None]),
        volume=frame(rng.integers(1_000, 100_000, close.shape).astype(float)),
    )


@pytest.fixture(scope="session")
def make_prices() -> Callable[..., Prices]:
    return random_prices


@pytest.fixture(scope="session")
def cases() -> Path:
    """Return the folder of files that are easily read wrong."""
    return Path(__file__).with_name("cases")


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "home")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a text file and return its path."""

    def writer(text: str, name: str = "file.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return writer


@dataclass
class Answer:
    """Answer of the server: status, body, and the length after which the body is cut."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class ChartServer:
    """Server with Yahoo's chart API.

    ``answers`` maps a symbol to what it gets, in order; the last one is given again and again. Short requests
    that only ask for the time zone are answered from ``meta`` and do not use up answers.
    """

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def charts(self, symbol: str) -> int:
        """Return the number of requests for the prices of a symbol."""
        return self.asked.count(symbol)


def chart(
    symbol: str,
    dates: pd.DatetimeIndex,
    close: Any,
    *,
    dividends: dict[str, float] | None = None,
    splits: dict[str, tuple[int, int]] | None = None,
    currency: str = "USD",
    zone: str = "America/New_York",
    kind: str = "EQUITY",
    factor: Any = 1.0,
) -> dict[str, Any]:
    """Return a body as Yahoo writes it: closes as given, opens 1 % below, highs 2 % above, lows 2 % below."""
    prices = np.asarray(close, dtype=float)
    stamps = [int(date.tz_localize(zone).timestamp()) + 34_200 for date in dates]

    def listed(values: np.ndarray) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in values]

    def stamp(day: str) -> int:
        return int(pd.Timestamp(day).tz_localize(zone).timestamp()) + 34_200

    events: dict[str, Any] = {}
    if dividends:
        events["dividends"] = {
            str(stamp(day)): {"amount": amount, "date": stamp(day)} for day, amount in dividends.items()
        }
    if splits:
        events["splits"] = {
            str(stamp(day)): {
                "date": stamp(day),
                "numerator": new,
                "denominator": old,
                "splitRatio": f"{new}:{old}",
            }
            for day, (new, old) in splits.items()
        }
    meta = {
        "symbol": symbol,
        "currency": currency,
        "exchangeTimezoneName": zone,
        "timezone": "EST",
        "gmtoffset": -18_000,
        "instrumentType": kind,
        "priceHint": 2,
        "dataGranularity": "1d",
        "validRanges": ["1d", "5d", "1mo", "max"],
        "regularMarketPrice": float(prices[-1]) if len(prices) else None,
        "currentTradingPeriod": {
            part: {"timezone": "EST", "start": 1, "end": 2, "gmtoffset": -18_000}
            for part in ("pre", "regular", "post")
        },
    }
    quote = {
        "open": listed(prices * 0.99),
        "high": listed(prices * 1.02),
        "low": listed(prices * 0.98),
        "close": listed(prices),
        "volume": [1_000 + index for index in range(len(prices))],
    }
    result = {
        "meta": meta,
        "timestamp": stamps,
        "events": events,
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": listed(prices * factor)}]},
    }
    return {"chart": {"result": [result], "error": None}}


@pytest.fixture(scope="session")
def make_chart() -> Callable[..., dict[str, Any]]:
    return chart


@pytest.fixture(scope="session")
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def chart_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChartServer]:
    """Chart server, without a proxy of the machine between it and the library."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    state = ChartServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            state.requests.append(self.path)
            if parts.path.startswith("/v8/finance/chart/"):
                self._chart(unquote(parts.path.rsplit("/", 1)[1]), parse_qs(parts.query))
            elif parts.path.endswith("/getcrumb"):
                self._send(Answer(200, "crumb"))
            else:
                self._send(Answer(404, "nothing here"))

        def _chart(self, symbol: str, query: dict[str, list[str]]) -> None:
            answers = state.answers.get(symbol)
            if answers is None:
                error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
                self._send(Answer(404, {"chart": {"result": None, "error": error}}))
                return
            if "range" in query:
                last = answers[-1].body
                zone_only = (
                    last
                    if isinstance(last, dict)
                    else chart(symbol, nyse_sessions("2020-01-02", "2020-01-03"), [1, 1])
                )
                self._send(Answer(200, zone_only))
                return
            state.asked.append(symbol)
            self._send(answers.pop(0) if len(answers) > 1 else answers[0])

        def _send(self, given: Answer) -> None:
            text = given.body if isinstance(given.body, str) else json.dumps(given.body)
            content = text.encode()
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if given.cut is None else content[: given.cut])
            if given.cut is not None:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
