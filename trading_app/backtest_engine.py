"""The arithmetic of a backtest over arrays: strategies × sessions × assets, without a loop over fills.

What happens between two fills depends on the first one's target alone (`trading_app.accounting`), so all fills are
computed at once and the value of the account is a cumulative product. Only cash between two fills that are several
sessions apart is a recursion, of one number a strategy.

Shapes: K strategies, T sessions, N assets. Session 0 is the first day, with all cash; fills lie on sessions 1 … T − 1,
and arrays about sessions 1 … T − 1 have D = T − 1 rows.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trading_app.accounting import Rates, financing, hold, positive, solve_fill, total, trading_cost
from trading_app.costs import CostModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trading_app.market_prices import TradingPanel

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

# Rows worked on at once: what the arithmetic touches then stays in a core's own cache.
BLOCK_CELLS = 24_000


@dataclass(frozen=True)
class Ledger:
    """Every movement of K accounts; values relative to the account right after its last fill, V (1 before the first).

    Attributes
    ----------
    filled
        Whether there was a fill [K, D].
    target
        Target weights of the fills, 0 where not tradable [K, D, N].
    before
        Values of the positions just before the fill price of the session, in units of the previous V [K, D, N].
    cash_before
        Cash there [K, D].
    interest, borrow
        Accrued over the night before the session, in units of the previous V [K, D].
    kept
        μ of the fill, 1 where there is none [K, D].
    closed
        Values of positions closed for want of a price, on sessions without a fill [K, D, N]; None where there are none.
    values, cash
        Positions and cash at the close, in units of V [K, D, N] and [K, D].
    base
        V itself: the account right after its last fill, in units of its start [K, D].
    nav
        Value of the account at each close, 1 at session 0, 0 from its ruin on [K, T].
    """

    filled: Flags
    target: Floats
    before: Floats
    cash_before: Floats
    interest: Floats
    borrow: Floats
    kept: Floats
    closed: Floats | None
    values: Floats
    cash: Floats
    base: Floats
    nav: Floats


def net_asset_values(
    panel: TradingPanel, targets: Floats, costs: CostModel, *, threads: int | None = None
) -> Floats:
    """Value of K accounts at each close [K, T].

    Parameters
    ----------
    panel
        Prices to trade on, T sessions.
    targets
        Target weights decided at each close [K, T, N]; a row of NaN is no trade.
    costs
        The cost model.
    threads
        Strategies worked on side by side; by default as many as there are processors.
    """
    strategies = len(targets)
    rates, impact = Rates.of(costs), panel.impact(costs)
    ratios = _ratios(panel)

    def one(strategy: int) -> Floats:
        target = targets[strategy]
        # A sum is NaN if any of its terms is: one product tells whether every session trades.
        if np.isfinite(total(target[:-1])).all():
            return _daily(panel, target, rates, impact, *ratios)
        return ledger(panel, target[None], costs).nav[0]

    workers = min(strategies, threads or _processors())
    if workers <= 1:
        return np.stack([one(strategy) for strategy in range(strategies)])
    with ThreadPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(one, range(strategies))))


def _ratios(panel: TradingPanel) -> tuple[Floats | None, Floats]:
    """Close / fill price of sessions 1 … T − 1, and next fill price / close; 1 after the last session."""
    intraday = None if panel.at_close else panel.close[1:] / panel.price[1:]
    overnight = np.ones_like(panel.close[1:])
    np.divide(panel.price[2:], panel.close[1:-1], out=overnight[:-1])
    return intraday, overnight


def _daily(
    panel: TradingPanel,
    target: Floats,
    rates: Rates,
    impact: Floats | None,
    intraday: Floats | None,
    overnight: Floats,
) -> Floats:
    """Value of one account [T] that trades every session; target [T, N]."""
    sessions, assets = target.shape
    growth = np.empty((3, sessions - 1))  # kept, close, next
    held = np.zeros((1, assets))
    block = max(1, BLOCK_CELLS // assets)
    for start in range(0, sessions - 1, block):
        rows = slice(start, min(start + block, sessions - 1))
        after = slice(rows.start + 1, rows.stop + 1)
        wanted = target[rows] if panel.all_tradable else target[rows] * panel.tradable[after]
        day = None if intraday is None else intraday[rows]
        growth[1, rows], _, next_growth, next_values = hold(wanted, rates, day, overnight[rows])
        growth[2, rows] = next_growth
        next_held = next_values / positive(next_growth)[:, None]
        pre_trade = np.concatenate([held, next_held[:-1]])
        growth[0, rows] = solve_fill(
            wanted, pre_trade, rates.trade, None if impact is None else impact[after]
        )
        held = next_held[-1:]
    kept, close, following = growth
    # The first session's cash earns interest over the night before it.
    opening = np.concatenate([[1.0 + rates.lending], following[:-1]])
    nav = np.concatenate([[1.0], np.cumprod(opening * kept) * close])
    return _ruin(nav[None], (opening <= 0)[None], (kept <= 0)[None], (close <= 0)[None])[0]


def ledger(panel: TradingPanel, targets: Floats, costs: CostModel) -> Ledger:
    """Work out every movement of K accounts; targets [K, T, N] with rows of NaN where there is no trade."""
    rates, impact = Rates.of(costs), panel.impact(costs)
    wanted = targets[:, :-1]
    filled = ~np.isnan(wanted[..., 0])
    target = np.where(filled[..., None], wanted, 0.0)
    if not panel.all_tradable:
        target = target * panel.tradable[1:]
    last = _last_fill(filled)
    units, open_now = _units(panel, target, filled, last)
    close, price = panel.close[1:], panel.price[1:]
    values = units * open_now * close
    earlier = np.concatenate([np.zeros_like(units[:, :1]), (units * open_now)[:, :-1]], axis=1)
    before = earlier * price
    closed = None
    if not panel.all_tradable:
        closed = before * ~open_now * ~filled[..., None]
    cash, cash_before, interest, borrow = _cash(target, filled, earlier * panel.close[:-1], closed, rates)
    value_before = cash_before + total(before)
    kept = np.ones_like(cash)
    held = before / positive(value_before)[..., None]
    rows = None if impact is None else np.broadcast_to(impact[1:], target.shape)[filled]
    if filled.any():
        kept[filled] = solve_fill(target[filled], held[filled], rates.trade, rows)
    base = np.cumprod(np.where(filled, value_before * kept, 1.0), axis=1)
    at_close = total(values) + cash
    nav = np.concatenate([np.ones_like(base[:, :1]), base * at_close], axis=1)
    nav = _ruin(nav, filled & (value_before <= 0), kept <= 0, at_close <= 0)
    return Ledger(
        filled, target, before, cash_before, interest, borrow, kept, closed, values, cash, base, nav
    )


def _last_fill(filled: Flags) -> NDArray[np.intp]:
    """Row of the last fill at or before each session [K, D]; −1 before the first."""
    rows = np.where(filled, np.arange(filled.shape[1]), -1)
    return np.maximum.accumulate(rows, axis=1)


def _units(
    panel: TradingPanel, target: Floats, filled: Flags, last: NDArray[np.intp]
) -> tuple[Floats, Flags]:
    """Units held per V after each session's fill, and whether each is still open there [K, D, N].

    A symbol that loses its price after the fill is closed; it stays so until the next fill.
    """
    units = target / panel.price[1:]
    if not filled.all():
        units = np.take_along_axis(units, np.maximum(last, 0)[..., None], axis=1) * (last >= 0)[..., None]
    if panel.all_tradable:
        return units, np.ones(units.shape, dtype=bool)
    sessions = np.arange(len(panel.close) - 1)[:, None]
    lost = np.maximum.accumulate(np.where(panel.tradable[1:], -1, sessions), axis=0)
    return units, lost <= last[..., None]


def _cash(
    target: Floats, filled: Flags, positions: Floats, closed: Floats | None, rates: Rates
) -> tuple[Floats, Floats, Floats, Floats]:
    """Follow cash through the sessions: at the close, before the fill, interest and borrow fee, each [K, D].

    `positions` are values at the close before each session; everything is in units of V, so that a fill sets cash to
    1 − Σ target whatever came before, and the recursion runs over sessions without a fill alone.
    """
    strategies, sessions = filled.shape
    _, borrow = financing(np.zeros((strategies, sessions)), positions, rates)
    proceeds = -borrow
    if closed is not None:
        proceeds = proceeds + total(closed) - trading_cost(closed, rates.trade)
    cash = np.where(filled, 1.0 - total(target), 0.0)
    lending, paying = 1.0 + rates.lending, 1.0 + rates.financing
    if filled.all():
        pass
    elif strategies == 1:
        cash[0] = _cash_path(cash[0].tolist(), filled[0].tolist(), proceeds[0].tolist(), lending, paying)
    else:
        level = np.ones(strategies)
        for day in range(sessions):
            drifted = level * np.where(level < 0, paying, lending) + proceeds[:, day]
            level = cash[:, day] = np.where(filled[:, day], cash[:, day], drifted)
    earlier = np.concatenate([np.ones((strategies, 1)), cash[:, :-1]], axis=1)
    interest = earlier * np.where(earlier < 0, rates.financing, rates.lending)
    return cash, earlier + interest - borrow, interest, borrow


def _cash_path(
    cash: list[float], filled: list[bool], proceeds: list[float], lending: float, paying: float
) -> list[float]:
    level = 1.0
    for day, fill in enumerate(filled):
        level = cash[day] if fill else level * (paying if level < 0 else lending) + proceeds[day]
        cash[day] = level
    return cash


def _ruin(nav: Floats, before: Flags, filling: Flags, closing: Flags) -> Floats:
    """End accounts that lost everything: 0 from that session on; nav [K, T], the rest [K, D]."""
    lost = before | filling | closing
    if not lost.any():
        return nav
    dead = np.maximum.accumulate(lost, axis=1)
    nav[:, 1:][dead] = 0.0
    return nav


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
