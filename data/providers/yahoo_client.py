"""Client of yfinance for one symbol at a time: throttled, retried, with the reason of an empty answer.

yfinance turns a server error, a rate limit and a delisted symbol into the same empty frame. The session made
here looks at each answer of the chart API before yfinance does, and raises subclasses of yfinance's rate-limit error,
the only kind that the library always passes on.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import tenacity
import yfinance
import yfinance.data
from yfinance.exceptions import YFRateLimitError

from data.errors import DataError
from data.providers.fetch_options import FetchHooks, FetchOptions

_CHART = "/v8/finance/chart/"
_LONGEST_WAIT = 120.0


class TransientError(YFRateLimitError):  # type: ignore[misc]
    """The server was busy or its answer was cut short; it may have asked to wait some seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__()
        self.args = (reason,)
        self.retry_after = retry_after


class NoPricesError(YFRateLimitError):  # type: ignore[misc]
    """The server has no prices; another attempt does not help."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.args = (reason,)


@dataclass(frozen=True)
class SymbolPrices:
    """Prices of a symbol (columns date, symbol and fields), their currency and the time zone of the exchange.

    `capital_gains`: there were distributions, which are in the adjusted closes only.
    """

    frame: pd.DataFrame
    currency: str
    zone: str
    capital_gains: bool


class YahooClient:
    """Fetches symbols one after another through yfinance, at the pace and from the server of the options.

    A server of one's own is asked for everything, yfinance's cookie and crumb included.
    """

    def __init__(self, options: FetchOptions, hooks: FetchHooks) -> None:
        self._options = options
        self._hooks = hooks
        self._next_request = 0.0
        self._session = self._watched(_new_session())

    def fetch(self, symbol: str, start: pd.Timestamp, end: pd.Timestamp) -> SymbolPrices:
        """Fetch one symbol from `start` to `end`, both included.

        Raises `NoPricesError` if the server has none; `DataError` if the server gave no proper answer in all attempts.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(self._options.attempts),
            wait=self._wait,
            sleep=self._hooks.sleep,
            reraise=True,
        )
        try:
            return retrying(self._fetch_once, symbol, start, end)
        except TransientError as error:
            raise DataError(
                f"{symbol}: no proper answer in {self._options.attempts} attempts: {error}"
            ) from error

    def _fetch_once(self, symbol: str, start: pd.Timestamp, end: pd.Timestamp) -> SymbolPrices:
        _private_cache()
        # The library caches answers for past dates for the life of the process; a refetch would not send a request.
        yfinance.data.YfData.cache_get.cache_clear()
        with _errors_shown():
            ticker = yfinance.Ticker(symbol, session=self._session)
            try:
                table = ticker.history(
                    start=start.date().isoformat(),
                    end=(end + pd.Timedelta(days=1)).date().isoformat(),
                    interval="1d",
                    auto_adjust=False,
                    actions=True,
                    timeout=self._options.timeout,
                )
                meta = ticker.get_history_metadata()
            except (TransientError, NoPricesError):
                raise
            except YFRateLimitError as error:
                raise TransientError("too many requests") from error
            except OSError as error:
                raise TransientError(_line(error)) from error
            except Exception as error:
                # The library raises many kinds of errors, bare ones included, for answers that it cannot use.
                raise NoPricesError(_line(error)) from error
        if table.empty:
            raise NoPricesError("no prices in this range")
        return SymbolPrices(
            _long(table, symbol),
            str(meta.get("currency") or ""),
            str(table.index.tz),
            bool("Capital Gains" in table.columns and (table["Capital Gains"] != 0).any()),
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = getattr(error, "retry_after", None) or 0.0
        growing = self._options.first_wait * 2.0 ** (state.attempt_number - 1)
        return float(min(max(growing, asked), _LONGEST_WAIT))

    def _watched(self, session: Any) -> Any:
        send = session.request

        def request(method: str, url: str, **options: Any) -> Any:
            self._throttle()
            if urlsplit(url).path.startswith(_CHART):
                return _checked(lambda: send(method, self._address(url), **options))
            return send(method, self._address(url), **options)

        # Both kinds of sessions route get and post through this one method.
        session.request = request
        return session

    def _throttle(self) -> None:
        now = self._hooks.clock()
        if now < self._next_request:
            self._hooks.sleep(self._next_request - now)
            now = self._next_request
        self._next_request = now + self._options.pause

    def _address(self, url: str) -> str:
        if self._options.base_url is None:
            return url
        target, asked = urlsplit(self._options.base_url), urlsplit(url)
        return urlunsplit((target.scheme, target.netloc, asked.path or "/", asked.query, ""))


def _checked(send: Callable[[], Any]) -> Any:
    try:
        response = send()
    except OSError as error:
        # Refused, timed out, or the body ended before its length: both backends raise subclasses of this.
        raise TransientError(_line(error)) from error
    status = int(response.status_code)
    if status == 429 or status >= 500:
        raise TransientError(f"HTTP status {status}", _seconds(response.headers.get("Retry-After")))
    try:
        answer = json.loads(response.text)
    except ValueError as error:
        if status < 400:
            raise TransientError("the answer is cut short or is not JSON") from error
        return response
    chart = answer.get("chart") if isinstance(answer, dict) else None
    if isinstance(chart, dict) and chart.get("error"):
        problem = chart["error"]
        described = problem.get("description") if isinstance(problem, dict) else None
        raise NoPricesError(str(described or problem))
    return response


def _seconds(header: str | None) -> float | None:
    # The header may also be a date; then the growing wait is used.
    return float(header) if header is not None and header.strip().isdigit() else None


def _long(table: pd.DataFrame, symbol: str) -> pd.DataFrame:
    # Sessions are local dates of the exchange, which is how the index is written.
    frame = pd.DataFrame({"date": pd.DatetimeIndex(table.index).tz_localize(None).normalize()})
    frame["symbol"] = symbol
    for field, column in (
        ("open", "Open"),
        ("high", "High"),
        ("low", "Low"),
        ("close", "Close"),
        ("adj_close", "Adj Close"),
        ("volume", "Volume"),
        ("dividends", "Dividends"),
        ("splits", "Stock Splits"),
    ):
        if column in table.columns:
            frame[field] = table[column].to_numpy(dtype=float)
    if "splits" in frame.columns:
        # Yahoo writes 0 where there was no split; a ratio of new to old shares is 1 there.
        frame["splits"] = frame["splits"].replace(0.0, 1.0)
    return frame


def _new_session() -> Any:
    try:
        from curl_cffi import requests as backend
    except ImportError:
        import requests

        return requests.Session()
    return backend.Session(impersonate="chrome")


@contextmanager
def _errors_shown() -> Iterator[None]:
    debug = yfinance.config.debug
    before = debug.hide_exceptions
    debug.hide_exceptions = False
    try:
        yield
    finally:
        debug.hide_exceptions = before


@functools.cache
def _private_cache() -> tempfile.TemporaryDirectory[str]:
    # The library pickles cookies into the user's cache folder. With a temporary folder of this process no pickle from
    # elsewhere is ever read.
    folder = tempfile.TemporaryDirectory(prefix="equitrade-yahoo-", ignore_cleanup_errors=True)
    yfinance.set_tz_cache_location(folder.name)
    return folder


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
