"""Results of backtests: net asset values are stored, all else is computed on access."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.errors import DataError
from trading_app.backtesting.ledger import Ledger, ledger
from trading_app.backtesting.notes import backtest_notes
from trading_app.evaluation.metrics import metrics
from trading_app.market.accounting import positive, total
from trading_app.market.costs import CostModel
from trading_app.market.panel import TradingPanel

Floats = NDArray[np.float64]

TRADING_COSTS = ("commission", "spread", "impact")
COST_COLUMNS = ("price_pnl", "commission", "spread", "impact", "borrow", "interest")
# Below this a change of weight is rounding, not a trade.
_TRADE_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class BatchResult:
    """Backtests of K strategies on the same prices and costs.

    `targets` are the weights that fills reach [K, T, N] (`trading_app.backtesting.execution.executed_targets`),
    `nav` is the value of each account at each close, starting at 1 [K, T].
    """

    panel: TradingPanel = field(repr=False)
    cost_model: CostModel
    targets: Floats = field(repr=False)
    names: tuple[str, ...]
    nav: Floats = field(repr=False)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Net asset value at each close, date × strategy, starting at 1."""
        return pd.DataFrame(self.nav.T, index=self.panel.dates, columns=list(self.names))

    @cached_property
    def returns(self) -> pd.DataFrame:
        """Returns from close to close, date × strategy, from the second session on; 0 after ruin."""
        return pd.DataFrame(_returns(self.nav).T, index=self.panel.dates[1:], columns=list(self.names))

    @cached_property
    def turnover(self) -> pd.DataFrame:
        """Turnover of each session, date × strategy."""
        return pd.DataFrame({name: self.strategy(name).turnover for name in self.names})

    def strategy(self, name: str) -> BacktestResult:
        """Return the result of one strategy; DataError if there is none of that name."""
        if name not in self.names:
            raise DataError(f"strategy {name!r} not found; available: {', '.join(self.names[:30])}")
        position = self.names.index(name)
        return BacktestResult(self.panel, self.cost_model, self.targets[position], name, self.nav[position])

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return each strategy's metrics by name."""
        return {name: self.strategy(name).metrics() for name in self.names}

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """Backtest of one strategy, with the fields of `BatchResult`: targets [T, N] and nav [T]."""

    panel: TradingPanel = field(repr=False)
    cost_model: CostModel
    targets: Floats = field(repr=False)
    name: str
    nav: Floats = field(repr=False)

    @cached_property
    def equity(self) -> pd.Series[float]:
        """Net asset value at each close, starting at 1."""
        return pd.Series(self.nav, index=self.panel.dates, name=self.name)

    @cached_property
    def returns(self) -> pd.Series[float]:
        """Returns from close to close, from the second session on; 0 after ruin."""
        return pd.Series(_returns(self.nav[None])[0], index=self.panel.dates[1:], name=self.name)

    @cached_property
    def _ledger(self) -> Ledger:
        return ledger(self.panel, self.targets, self.cost_model)

    @cached_property
    def _alive(self) -> NDArray[np.bool_]:
        """Flags of sessions 1 … T − 1 that begin with a positive account [D]."""
        return self.nav[:-1] > 0

    @cached_property
    def _prior(self) -> Floats:
        """Value of the account right after the last fill before each session [D]; 0 after ruin."""
        return np.concatenate([[1.0], self._ledger.base[:-1]]) * self._alive

    @cached_property
    def _traded(self) -> Floats:
        """Weight changes by trades, fractions of the account just before the trade; 0 after ruin [D, N]."""
        lived = self._alive & (self._ledger.value_before > 0)
        return np.multiply(self._ledger.traded, lived[:, None])

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Holdings after the session's fill as fractions of the account at the close, date × symbol."""
        book = self._ledger
        shares = book.values / positive(total(book.values) + book.cash)[:, None]
        shares = shares * (self.nav[1:] > 0)[:, None]
        full = np.concatenate([np.zeros((1, shares.shape[1])), shares])
        return pd.DataFrame(full, index=self.panel.dates, columns=list(self.panel.symbols))

    @cached_property
    def turnover(self) -> pd.Series[float]:
        """½ Σ |w⁺ − w| of each session: weights after the trade against drifted weights."""
        book = self._ledger
        held = book.before / positive(book.value_before)[:, None]
        after = np.where(book.filled[:, None], book.target, held + self._traded)
        moved = 0.5 * total(abs(after - held)) * (abs(self._traded) > 0).any(axis=1)
        return pd.Series(np.concatenate([[0.0], moved]), index=self.panel.dates, name="turnover")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row a trade: date, symbol, weight before and change, value, price.

        ``weight_before`` and ``weight_change`` are fractions of the account just before the trade,
        ``value`` is signed and in units of the account's start, ``price`` is the (adjusted) fill price.
        """
        book, traded = self._ledger, self._traded
        rows, columns = np.nonzero(abs(traded) > _TRADE_FLOOR)
        account = book.value_before[rows]
        return pd.DataFrame(
            {
                "date": self.panel.dates[rows + 1],
                "symbol": np.asarray(self.panel.symbols, dtype=object)[columns],
                "weight_before": book.before[rows, columns] / account,
                "weight_change": traded[rows, columns],
                "value": traded[rows, columns] * account * self._prior[rows],
                "price": self.panel.price[rows + 1, columns],
            }
        )

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Changes of the account by component, in units of its start, date × component.

        The change of the account is ``price_pnl − commission − spread − impact − borrow + interest``. A
        loss beyond the value of the account is not carried over: it is removed from ``price_pnl`` of that session.
        """
        book, prior = self._ledger, self._prior
        account = book.value_before * prior
        size = abs(self._traded)
        impact = self.panel.impact(self.cost_model)
        squeeze = np.zeros(len(prior)) if impact is None else total(impact[1:] * size**1.5)
        night = total(book.before) - np.concatenate([[0.0], total(book.values)[:-1]])
        held = np.where(book.filled[:, None], book.target, book.before)
        day = total(book.values) - total(held)
        columns = {
            "price_pnl": night * prior + day * book.base * self._alive,
            "commission": total(size) * self.cost_model.commission * account,
            "spread": total(size) * self.cost_model.half_spread * account,
            "impact": squeeze * account,
            "borrow": book.borrow * prior,
            "interest": book.interest * prior,
        }
        table = np.stack([np.concatenate([[0.0], columns[name]]) for name in COST_COLUMNS], axis=1)
        for day_of_ruin in np.flatnonzero(self._alive & (self.nav[1:] <= 0)):
            row = table[day_of_ruin + 1]
            row[0] = -self.nav[day_of_ruin] + row[1:5].sum() - row[5]
        return pd.DataFrame(table, index=self.panel.dates, columns=list(COST_COLUMNS))

    @cached_property
    def contributions(self) -> pd.DataFrame:
        """Return of each asset's positions after its trading costs, a fraction of the account at the last close.

        Date × symbol, from the second session on. With interest and borrow fees they sum to the account's returns,
        until its ruin.
        """
        book, prior = self._ledger, self._prior
        size, impact = abs(self._traded), self.panel.impact(self.cost_model)
        paid = size * self.cost_model.rate + (0.0 if impact is None else impact[1:] * size**1.5)
        night = book.before - np.concatenate([np.zeros_like(book.values[:1]), book.values[:-1]])
        day = book.values - np.where(book.filled[:, None], book.target, book.before)
        base = (book.base * self._alive)[:, None]
        gains = (night - paid * book.value_before[:, None]) * prior[:, None] + day * base
        earned = gains / positive(self.nav[:-1])[:, None]
        return pd.DataFrame(earned, index=self.panel.dates[1:], columns=list(self.panel.symbols))

    def metrics(self, **options: Any) -> dict[str, float]:
        """Return `trading_app.evaluation.metrics.metrics` of these returns, turnover and costs."""
        # Nothing can trade on the first session, which has no return either.
        settings = {
            "periods": self.cost_model.sessions_a_year,
            "risk_free": self.cost_model.risk_free_of(self.panel.dates),
            "turnover": self.turnover.iloc[1:],
            "trading_costs": trading_costs(self.costs, self.equity).iloc[1:],
            **options,
        }
        return metrics(self.returns, **settings)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes for a reader: those of the prices, symbols that ended, sessions without a fill, missing opens, ruin."""
        return backtest_notes(self.panel, self.cost_model, self._ledger, self.nav)


def trading_costs(costs: pd.DataFrame, equity: pd.Series) -> pd.Series:
    """Commission, spread and impact of each session as fractions of the account before it.

    Costs are date × component in units of the account's start; equity is the value of the account at each close.
    """
    before = equity.shift(1, fill_value=float(equity.iloc[0])).to_numpy(dtype=np.float64)
    paid = costs[list(TRADING_COSTS)].sum(axis=1).to_numpy(dtype=np.float64)
    return pd.Series(np.where(before > 0, paid / np.where(before > 0, before, 1.0), 0.0), index=costs.index)


def _returns(nav: Floats) -> Floats:
    before = nav[:, :-1]
    return np.where(before > 0, nav[:, 1:] / np.where(before > 0, before, 1.0) - 1.0, 0.0)
