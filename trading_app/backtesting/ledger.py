"""Every movement of one strategy's backtest: positions, cash, costs and accruals of each session.

Shapes: T sessions, N assets. Session 0 is the first day, with all cash; fills lie on sessions 1 … T − 1, and
arrays about sessions 1 … T − 1 have D = T − 1 rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_app.market.accounting import financing, positive, solve_fill, total
from trading_app.market.costs import CostModel
from trading_app.market.panel import TradingPanel, ratio

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Ledger:
    """Every movement of an account, in units of its value right after the last fill, V (1 before the first).

    Attributes
    ----------
    filled
        Whether there was a fill [D].
    target
        Weights that the fills reach [D, N].
    before
        Values of the positions just before the fill price of the session, in units of the previous V [D, N].
    cash_before
        Cash there [D].
    interest, borrow
        Accrued over the night before the session, in units of the previous V [D].
    kept
        μ of the fill, 1 where there is none [D].
    values, cash
        Positions and cash at the close, in units of V [D, N] and [D].
    base
        V itself, in units of the account's start [D].
    nav
        Value of the account at each close, 1 at session 0, 0 from its ruin on [T].
    """

    filled: Flags
    target: Floats
    before: Floats
    cash_before: Floats
    interest: Floats
    borrow: Floats
    kept: Floats
    values: Floats
    cash: Floats
    base: Floats
    nav: Floats

    @property
    def value_before(self) -> Floats:
        """The account just before the fill price of the session, in units of the previous V [D]."""
        account: Floats = self.cash_before + total(self.before)
        return account

    @property
    def traded(self) -> Floats:
        """Changes of weight by trades, fractions of the account just before the trade [D, N]."""
        account = positive(self.value_before)[:, None]
        traded: Floats = np.where(
            self.filled[:, None], self.target * self.kept[:, None] - self.before / account, 0.0
        )
        return traded


def ledger(panel: TradingPanel, targets: Floats, costs: CostModel) -> Ledger:
    """Compute every movement of an account.

    `targets` are the weights that the fill after each close reaches [T, N], a row of NaN where there is none; see
    `trading_app.backtesting.execution.executed_targets`.
    """
    impact = panel.impact(costs)
    filled = ~np.isnan(targets[:-1, 0])
    target = np.where(filled[:, None], targets[:-1], 0.0)
    held = _units(panel, target, filled)
    values = held * panel.close[1:]
    earlier = np.concatenate([np.zeros_like(held[:1]), held[:-1]])
    before = earlier * panel.price[1:]
    lending = costs.lending_rates(panel.dates[:-1])
    cash, interest, borrow = _cash(target, filled, earlier * panel.close[:-1], costs, lending)
    cash_before = np.concatenate([[1.0], cash[:-1]]) + interest - borrow
    account = cash_before + total(before)
    kept = np.ones_like(cash)
    if filled.any():
        weights = before / positive(account)[:, None]
        rows = None if impact is None else impact[1:][filled]
        kept[filled] = solve_fill(target[filled], weights[filled], costs.rate, rows)
    base = np.cumprod(np.where(filled, account * kept, 1.0), dtype=np.float64)
    at_close = total(values) + cash
    nav = np.concatenate([[1.0], base * at_close])
    nav = end_at_ruin(nav, (filled & (account <= 0)) | (kept <= 0) | (at_close <= 0))
    return Ledger(filled, target, before, cash_before, interest, borrow, kept, values, cash, base, nav)


def _units(panel: TradingPanel, target: Floats, filled: Flags) -> Floats:
    """Units held per V after each session's fill [D, N]."""
    last = np.maximum.accumulate(np.where(filled, np.arange(len(filled)), -1))  # −1 before the first fill
    units: Floats = ratio(target, panel.price[1:])[np.maximum(last, 0)] * (last >= 0)[:, None]
    return units


def _cash(
    target: Floats, filled: Flags, positions: Floats, costs: CostModel, lending: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Return cash at each close, and interest and borrow fee of the night before [D].

    `positions` are values at the close before each session, `lending` is dated interest of the night before [D].
    Everything is in units of V, so that a fill sets
    cash to 1 − Σ target whatever came before, and the recursion runs over sessions without a fill alone.
    """
    _, borrow = financing(np.zeros(len(filled)), positions, costs)
    level, levels = 1.0, (1.0 - total(target)).tolist()
    if lending is None:
        lending, paying = np.full(len(filled), costs.lending_rate), np.full(len(filled), costs.financing_rate)
    else:
        paying = lending + (costs.financing_rate - costs.lending_rate)
    growth = zip((1.0 + lending).tolist(), (1.0 + paying).tolist(), strict=True)
    nights = zip(filled.tolist(), borrow.tolist(), growth, strict=True)
    for day, (fill, fee, (of_cash, of_debt)) in enumerate(nights):
        level = levels[day] if fill else level * (of_debt if level < 0 else of_cash) - fee
        levels[day] = level
    cash = np.asarray(levels)
    earlier = np.concatenate([[1.0], cash[:-1]])
    return cash, earlier * np.where(earlier < 0, paying, lending), borrow


def end_at_ruin(nav: Floats, lost: Flags) -> Floats:
    """End an account that lost everything: 0 from that session on; nav [T], lost [D]."""
    if lost.any():
        nav[1 + int(np.argmax(lost)) :] = 0.0
    return nav
