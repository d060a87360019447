"""Target weights of rules on a schedule, within the limits of an account.

Row t of the targets is decided at the close of t. Axes: T sessions, N assets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from data.errors import DataError
from data.fields import DateLike
from data.prices import Prices
from trading_app.market.base import MINIMUM, WINDOW, Floats, Rule, known_closes
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.decisions import DayRows, Decision, rebalancing_days, rows_of
from trading_app.market.env import Market
from trading_app.market.limits import check_limits, limited_weights

__all__ = ["Baseline", "ScheduledRule", "Terms", "limited_targets", "run_accounts", "scheduled_targets"]

# Smaller changes of a weight are rounding.
_STILL = 1e-12


@dataclass(frozen=True)
class Terms:
    """Terms on which a baseline trades, those of the agent that it is compared with.

    Attributes
    ----------
    market
        Limits; what a baseline that acts like an agent does is bound by all of it.
    costs
        The cost model.
    fitted_until
        Last session whose data a baseline that is fitted to signals may use; None: each decision may use all before.
    """

    market: MarketConfig = field(default_factory=lambda: MarketConfig(actions="tilt"))
    costs: CostModel = field(default_factory=CostModel)
    fitted_until: DateLike | None = None


class Baseline(Protocol):
    """Target weights of prices over a range, both ends included, decided on a schedule."""

    def __call__(
        self,
        prices: Prices,
        start: DateLike | None = None,
        end: DateLike | None = None,
        *,
        rebalance: str | int = "monthly",
        terms: Terms | None = None,
    ) -> pd.DataFrame:
        """Return target weights, date × symbol; NaN where there is no order."""


@dataclass(frozen=True)
class ScheduledRule:
    """A baseline that follows a rule on closes.

    Attributes
    ----------
    name
        Name of the baseline.
    rule
        The rule; see `trading_app.market.base`.
    lookback, needed, refit
        As in `scheduled_targets`.
    """

    name: str
    rule: Rule
    lookback: int = WINDOW
    needed: int = MINIMUM
    refit: str | int | None = None

    def __call__(
        self,
        prices: Prices,
        start: DateLike | None = None,
        end: DateLike | None = None,
        *,
        rebalance: str | int = "monthly",
        terms: Terms | None = None,
    ) -> pd.DataFrame:
        """Return target weights, date × symbol; NaN where there is no order."""
        return scheduled_targets(
            prices,
            start,
            end,
            lookback=self.lookback,
            needed=self.needed,
            rule=self.rule,
            name=self.name,
            rebalance=rebalance,
            refit=self.refit,
            terms=terms,
        )


def scheduled_targets(
    prices: Prices,
    start: DateLike | None,
    end: DateLike | None,
    *,
    lookback: int,
    needed: int,
    rule: Rule,
    name: str,
    rebalance: str | int,
    refit: str | int | None = None,
    terms: Terms | None = None,
) -> pd.DataFrame:
    """Return the targets of a rule on closes from `start` to `end`, within the limits of the terms.

    The rule gets the closes of `lookback` sessions before a decision and of the session itself. It is computed again on
    the schedule `refit`, or at each decision without one; between, its last weights are restored, without the symbols
    that are gone. `needed`, the sessions of prices that a symbol needs, is for the error message.
    """
    window = prices.between(start, end)  # DataError where the range is empty
    closes, available = known_closes(prices)
    offset = int(prices.dates.searchsorted(window.dates[0]))
    targets = np.full((len(window.dates), len(prices.symbols)), np.nan)
    scheduled = rebalancing_days(prices.dates, rebalance)
    fitting = np.ones_like(scheduled) if refit is None else rebalancing_days(prices.dates, refit)
    last: Floats | None = None
    due = True
    for row in range(len(window.dates)):
        t = offset + row
        due |= bool(fitting[t])
        # Until the first decision every session is tried.
        if not (last is None or scheduled[t]):
            continue
        if due:
            # Closes up to the decision [≤ lookback + 1, N], all NaN for symbols that are not available to it.
            weights = rule(np.where(available[t], closes[max(t - lookback, 0) : t + 1], np.nan))
        else:
            assert last is not None
            weights = _restored(last, available[t])
        if weights is not None:
            targets[row] = last = weights
            due = False
    if last is None:
        raise DataError(
            f"{name}: {prices.name} has too little history for any decision up to "
            f"{window.dates[-1]:%Y-%m-%d}: it begins {prices.dates[0]:%Y-%m-%d} and a symbol needs {needed} "
            "sessions of prices before one"
        )
    found = pd.DataFrame(targets, index=window.dates, columns=list(prices.symbols))
    return limited_targets(prices, found, terms)


def _restored(weights: Floats, available: npt.NDArray[np.bool_]) -> Floats | None:
    """Return earlier weights over the available symbols, with the same sum; None if none of them is available."""
    kept = np.where(available, weights, 0.0)
    sums = np.abs(weights).sum(), np.abs(kept).sum()
    return kept * (sums[0] / sums[1]) if sums[1] > 0 else None


def limited_targets(prices: Prices, targets: pd.DataFrame, terms: Terms | None) -> pd.DataFrame:
    """Return the targets of an account that keeps the limits of its terms on every day; as they are without limits.

    A row of NaN is no order, unless a limit moves what is held.
    """
    if terms is None or not terms.market.limits.names:
        return targets
    known = prices.between(None, targets.index[-1])
    first = int(known.dates.searchsorted(targets.index[0]))
    limits = terms.market.limits
    config = replace(terms.market, reward="log", benchmark=None, turnover_penalty=0.0)
    market = Market(
        known, config=config, costs=terms.costs, days=(first, len(known.dates) - 1), dtype=torch.float64
    )
    wanted = targets.to_numpy()

    def decide(day: int, held: Floats, rows: DayRows) -> Decision:
        row = np.broadcast_to(wanted[day - first], held.shape)
        ordered = np.isfinite(row).all()
        aim = row if ordered else held
        weights = limited_weights(aim, held, rows.limits, limits)
        check_limits(weights[0], held[0], aim[0], rows.limits, limits, str(known.dates[day].date()))
        return Decision(weights, None if ordered else (np.abs(weights - held) > _STILL) * 1.0)

    decided, _ = run_accounts(market, first, 1, decide)
    return pd.DataFrame(decided[:, 0], index=targets.index, columns=targets.columns)


def run_accounts(
    market: Market, first: int, count: int, decide: Callable[[int, Floats, DayRows], Decision]
) -> tuple[Floats, Floats]:
    """Trade accounts from a day to the last one of a market, beginning in cash.

    Parameters
    ----------
    market
        Prices, settings and costs.
    first
        First day.
    count
        Number of accounts K.
    decide
        Returns the decision of a day for the weights held at its close [K, N].

    Returns
    -------
    tuple
        Target weights as a backtest takes them, NaN where there is no order [T, K, N], and rewards [T, K]; those of the
        last two days, whose fills or next fills are not known, are 0.
    """
    stop = len(market.panel.dates)
    rules = market.account_rules(stop)
    state = rules.start(np.full(count, first))
    decided = np.empty((stop - first, count, market.action_size))
    rewards = np.zeros((stop - first, count))
    for day in range(first, stop):
        decision = decide(day, state["weights"], rows_of(rules.tables, np.int64(day)))
        decided[day - first] = decision.instructions
        if day + 1 < stop:
            outcome = rules.trade(state, decision)
            state = outcome.state
            if day + 2 < stop:
                rewards[day - first] = outcome.reward
    return decided, rewards
