"""`backtest`: account values of target weights, after costs, with fills at prices after the decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypedDict, Unpack, overload, runtime_checkable

import numpy as np
import pandas as pd

from data.errors import DataError
from trading_app.backtesting.engine import net_asset_values, processors
from trading_app.backtesting.execution import executed_targets
from trading_app.backtesting.results import BacktestResult, BatchResult
from trading_app.market.costs import CostModel
from trading_app.market.panel import TradingPanel, session_range, trading_panel
from trading_app.market.trading_status import DELIST_AFTER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.prices import Prices

__all__ = ["BacktestResult", "BatchResult", "PolicyLike", "backtest"]

Strategy = Callable[["Prices", object, object], pd.DataFrame]


@runtime_checkable
class PolicyLike(Protocol):
    """An object that returns target weights decided at each date's close."""

    def weights(self, prices: Prices, start: object = None, end: object = None) -> object:
        """Return a date × symbol frame, or a tuple that begins with one."""
        ...


class Options(TypedDict, total=False):
    """Options of `backtest`, as described there."""

    costs: CostModel | None
    fill: str | None
    start: object
    end: object
    names: Sequence[str] | None
    gross_limit: float | None
    delist_after: int
    delisting_return: float
    partial_orders: bool


@overload
def backtest(
    prices: Prices, weights: pd.DataFrame | Strategy | PolicyLike, **options: Unpack[Options]
) -> BacktestResult: ...


@overload
def backtest(
    prices: Prices, weights: Mapping[str, pd.DataFrame], **options: Unpack[Options]
) -> BatchResult: ...


@overload
def backtest(
    prices: Prices, weights: NDArray[np.float64], **options: Unpack[Options]
) -> BacktestResult | BatchResult: ...


def backtest(
    prices: Prices,
    weights: pd.DataFrame | NDArray[np.float64] | Mapping[str, pd.DataFrame] | Strategy | PolicyLike,
    *,
    costs: CostModel | None = None,
    fill: str | None = None,
    start: object = None,
    end: object = None,
    names: Sequence[str] | None = None,
    gross_limit: float | None = None,
    delist_after: int = DELIST_AFTER,
    delisting_return: float = 0.0,
    partial_orders: bool = False,
) -> BacktestResult | BatchResult:
    """Backtest target weights.

    The row of date t is decided at the close of t and filled at the next session's open or close. A row of
    NaN, or a date without a row, is no trade: holdings drift. What is not in assets is cash. The account
    starts at 1 in cash on the first session. An account that loses everything stays at 0.

    In a session in which a symbol does not trade (no price, or a volume of 0), its units are held and valued at the
    last price, and its target waits for the next session in which it trades. The other symbols go to their targets,
    scaled down together where the account would pass its gross limit. A symbol that has ended is closed; `notes` of the
    result counts these cases.

    Parameters
    ----------
    prices
        Daily prices; adjusted prices are used where the source has them.
    weights
        Target weights: a date × symbol frame (columns in any order, all symbols there), an array [T, N] or
        [K, T, N] on the sessions from `start` to `end`, a mapping from strategy names to frames, a function
        ``(prices, start, end) -> frame``, or an object with such a method `weights`.
    costs
        The cost model, `CostModel()` by default.
    fill
        ``next_open``, ``next_close``, or None: the open where there are opens.
    start, end
        First and last session, both included; all by default.
    names
        Names of the strategies of an array.
    gross_limit
        Largest Σ |weight| after a fill in which some symbols do not trade; by default that of the target, at least 1.
    delist_after
        Sessions without a trade after which a symbol has ended.
    delisting_return
        Return from the last price of a symbol that has ended to the price at which positions in it are closed.
    partial_orders
        Whether a row may have numbers and NaN: no order in the symbols with NaN, whose units stay. Otherwise such a row
        is an error, unless a function or an object decided it.

    Returns
    -------
    BacktestResult or BatchResult
        One strategy's result; the results of many for an array [K, T, N] or a mapping.

    Raises
    ------
    DataError
        If symbols, dates or shape of the weights do not fit the prices, a row mixes numbers and NaN, a
        weight is infinite, the range is empty, or the fill rule cannot be had.
    """
    model = (CostModel() if costs is None else costs).for_dates(prices.dates)
    panel = trading_panel(prices, fill, delist_after=delist_after, delisting_return=delisting_return)
    first, stop = session_range(prices.dates, prices.name, start, end)
    if (first, stop) != (0, len(prices.dates)):
        panel = panel.slice(first, stop)
    if not isinstance(weights, pd.DataFrame | np.ndarray | Mapping):
        weights, partial_orders = _decided(weights, prices, start, end), True
    targets, labels, many = _targets(panel, prices.dates, weights, names, partial_orders)
    targets = executed_targets(panel, targets, model, gross_limit, partial_orders=partial_orders)
    nav = net_asset_values(panel, targets, model)
    batch = BatchResult(panel, model, targets, tuple(labels), nav)
    return batch if many else batch.strategy(labels[0])


def _decided(policy: object, prices: Prices, start: object, end: object) -> pd.DataFrame:
    if isinstance(policy, PolicyLike):
        answer = policy.weights(prices, start, end)
    elif callable(policy):
        answer = policy(prices, start, end)
    else:
        raise DataError(f"weights are {type(policy).__name__}: give a frame, an array, a mapping or a policy")
    frame = answer[0] if isinstance(answer, tuple) else answer
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"the policy returned {type(frame).__name__}; a date × symbol frame is needed")
    return frame


def _targets(
    panel: TradingPanel,
    calendar: pd.DatetimeIndex,
    weights: pd.DataFrame | NDArray[np.float64] | Mapping[str, pd.DataFrame],
    names: Sequence[str] | None,
    partial_orders: bool,
) -> tuple[NDArray[np.float64], list[str], bool]:
    """Return targets [K, T, N], the strategies' names, and whether a batch was asked for."""
    if isinstance(weights, Mapping):
        labels = [str(name) for name in weights]
        if not labels:
            raise DataError("weights: the mapping is empty; give at least one strategy")
        arrays = [_aligned(panel, calendar, frame, name) for name, frame in weights.items()]
        targets, many = np.stack(arrays), True
    elif isinstance(weights, pd.DataFrame):
        targets, many, labels = _aligned(panel, calendar, weights, "weights")[None], False, ["strategy"]
    else:
        targets, many = _shaped(panel, weights)
        labels = [f"strategy {k}" for k in range(len(targets))] if many else ["strategy"]
    if names is not None:
        labels = [str(name) for name in names]
    if len(labels) != len(targets) or len(set(labels)) != len(labels):
        raise DataError(f"names: {len(targets)} different names are needed, not {labels}")
    with ThreadPoolExecutor(min(len(targets), processors())) as pool:
        list(pool.map(lambda name, target: _check_rows(panel, target, name, partial_orders), labels, targets))
    return targets, labels, many


def _shaped(panel: TradingPanel, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"weights are not numeric ({error})") from None
    expected = panel.close.shape
    if array.ndim not in (2, 3) or array.shape[-2:] != expected or array.shape[0] == 0:
        raise DataError(
            f"weights have shape {array.shape}: [T, N] or [K, T, N] is needed, "
            f"T = {expected[0]} sessions and N = {expected[1]} symbols"
        )
    return (array, True) if array.ndim == 3 else (array[None], False)


def _aligned(
    panel: TradingPanel, calendar: pd.DatetimeIndex, frame: pd.DataFrame, name: object
) -> NDArray[np.float64]:
    """Return a frame as an array on the panel's sessions and symbols; other dates are dropped."""
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{name}: a date × symbol frame is needed, not {type(frame).__name__}")
    if tuple(frame.columns) != panel.symbols:
        frame = frame.loc[:, _ordered_symbols(panel, frame, name)]
    index = frame.index
    if not index.equals(panel.dates):
        if not isinstance(index, pd.DatetimeIndex):
            raise DataError(f"{name}: rows must be dates (a DatetimeIndex), not {index.dtype}")
        if not index.is_unique:
            raise DataError(f"{name}: {index[index.duplicated()][0].date()} appears twice")
        strange = index[~index.isin(calendar)]
        if len(strange):
            raise DataError(f"{name}: {strange[0].date()} is not a session of {panel.name}")
        frame = frame.reindex(panel.dates)
    try:
        return np.asarray(frame.to_numpy(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: weights are not numeric ({error})") from None


def _ordered_symbols(panel: TradingPanel, frame: pd.DataFrame, name: object) -> list[str]:
    columns = list(frame.columns)
    unknown = [column for column in columns if column not in panel.symbols]
    if unknown:
        raise DataError(f"{name}: {unknown[0]} is not a symbol of {panel.name}")
    missing = [symbol for symbol in panel.symbols if symbol not in columns]
    if missing:
        raise DataError(
            f"{name}: no weights for {missing[0]} ({len(missing)} of {len(panel.symbols)} missing)"
        )
    if len(columns) != len(set(columns)):
        raise DataError(f"{name}: a symbol appears twice among the columns")
    return list(panel.symbols)


def _check_rows(panel: TradingPanel, target: NDArray[np.float64], name: str, partial_orders: bool) -> None:
    if np.isfinite(target @ np.ones(target.shape[1])).all():
        return
    infinite = np.isinf(target)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise DataError(f"{name}: {panel.symbols[column]} on {panel.dates[row].date()} is infinite")
    missing = np.isnan(target)
    mixed = missing.any(axis=1) & ~missing.all(axis=1)
    if mixed.any() and not partial_orders:
        row = int(np.argmax(mixed))
        column = int(np.argmax(missing[row]))
        raise DataError(
            f"{name}: {panel.symbols[column]} on {panel.dates[row].date()} is NaN in a row with numbers; "
            "a row is either all weights or all NaN (no trade)"
        )
