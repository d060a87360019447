"""Accounts in a market: the transition of the portfolio MDP, in NumPy or in torch.

On a CPU NumPy steps small batches several times faster than torch, and a GPU needs torch, so this uses only
operators that both share; `trading_app.market.env` and `trading_app.envs.portfolio` wrap it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from trading_app.market.accounting import Array, advance, hold, positive
from trading_app.market.actions import target_weights
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.panel import TradingPanel
from trading_app.market.partial_fills import executed_weights
from trading_app.market.rewards import Rewards


class Accounts:
    """Accounts of any leading shape (`shape`; () is a single account) that trade one panel.

    `length` is that of an episode, `backend` the module ``numpy`` or ``torch``, `options` are ``dtype`` and, for torch,
    ``device`` of what is created.
    """

    def __init__(
        self,
        panel: TradingPanel,
        config: MarketConfig,
        costs: CostModel,
        *,
        shape: tuple[int, ...],
        length: int,
        backend: ModuleType = np,
        **options: Any,
    ) -> None:
        self.config, self.shape, self.length = config, shape, length
        self.state: dict[str, Array] = {}
        self._backend, self._options = backend, options
        self._costs, self._rewards = costs, Rewards(config)
        self._assets, self._at_close = len(panel.symbols), panel.at_close
        double = options.get("dtype") in (np.float64, getattr(backend, "float64", None))
        self._tolerance = 1e-13 if double else 1e-6
        rows = panel.decision_rows(costs)
        self._tables = {name: backend.asarray(table, **options) for name, table in rows.items()}

    def start(self, days: Array) -> None:
        """Start new episodes everywhere, in cash, at the close of these days (integers, of the batch's shape)."""
        ones = self._backend.ones(self.shape, **self._options)
        nothing = self._backend.zeros((*self.shape, self._assets), **self._options)
        self.state = {
            "day": days,
            "age": days * 0,
            "weights": nothing,
            "held": nothing,
            "value": ones * (1.0 + self._costs.lending_rate),
            "nav": ones,
            **{name: ones * value for name, value in self._rewards.constants.items()},
        }

    def place(self, days: Array, weights: Array) -> None:
        """Set every account to these weights at the close of these days, at least 1; for made transitions."""
        overnight = _rows(self._tables["overnight"], days - 1)
        *_, growth, values = hold(weights, self._costs, None, overnight)
        ones = self._backend.ones(self.shape, **self._options)
        self.state = {
            "day": days,
            "age": days * 0,
            "weights": weights,
            "held": values / positive(growth)[..., None],
            "value": growth,
            "nav": ones,
        }

    def step(self, action: Array) -> tuple[Array, Array, Array]:
        """Decide, fill, hold to the next close.

        The action is in [−1, 1], [..., N]. Returns reward, terminated and truncated, each of the batch's shape.
        """
        state, tables = self.state, self._tables
        day = state["day"]
        available = _rows(tables["available"], day) if "available" in tables else None
        target = target_weights(action, self.config, available)
        impact = _rows(tables["impact"], day) if "impact" in tables else None
        if "trades" in tables:
            target = self._executed(target, day, impact)
        session = advance(
            target,
            state["held"],
            self._costs,
            None if self._at_close else _rows(tables["intraday"], day),
            _rows(tables["overnight"], day),
            impact,
            gross=self.config.gross_bound,
            tolerance=self._tolerance,
        )
        # Whether the account reaches this close, and whether it reaches the next fill, to which rewards extend.
        closing = session.kept > 0
        if not self._at_close:
            closing = closing & (session.close_growth > 0)
        alive = closing & (session.next_growth > 0)
        self._fill = (day, target, session.kept, state["held"])
        reward, moments = self._rewards(session.kept * session.next_growth, alive, state)
        value = state["value"] * session.kept
        age = state["age"] + 1
        self.state = {
            "day": day + 1,
            "age": age,
            "weights": session.close_weights,
            "held": session.next_held,
            "value": value * session.next_growth,
            "nav": value * session.close_growth * closing,
            **moments,
        }
        return reward, alive == 0, (age >= self.length) & alive

    def contributions(self) -> Array:
        """Return each asset's part of the return from the last fill to the next one [..., N].

        It is what the asset earned less its trading cost and borrow fee, in shares of the account before the fill. With
        the interest on cash, the parts sum to the return of the account.
        """
        day, target, kept, held = self._fill
        close = target if self._at_close else target * _rows(self._tables["intraday"], day)
        change = abs(target * kept[..., None] - held)
        cost = change * self._costs.rate
        if "impact" in self._tables:
            cost = cost + _rows(self._tables["impact"], day) * change**1.5
        gain = close * _rows(self._tables["overnight"], day) - target
        borrow = (abs(close) - close) * (0.5 * self._costs.borrow_rate)
        return (gain - borrow) * kept[..., None] - cost

    def _executed(self, target: Array, day: Array, impact: Array | None) -> Array:
        """Weights that the fill after a decision reaches; the target itself where every asset trades."""
        trades, closing = _rows(self._tables["trades"], day), _rows(self._tables["closing"], day)
        whole = ((trades == 1) & (closing == 0)).all(-1)
        if bool(whole.all()):
            return target
        executed = executed_weights(
            target * (1 - closing),
            self.state["held"],
            trades,
            self._costs.rate,
            self.config.gross_bound,
            impact,
            tolerance=self._tolerance,
        )
        return self._backend.where(whole[..., None], target, executed)

    def restart(self, done: Array, days: Array) -> None:
        """Start new episodes at the close of these days where `done`."""
        fresh: dict[str, Any] = {
            "day": days,
            "value": 1.0 + self._costs.lending_rate,
            "nav": 1.0,
            **self._rewards.constants,
        }
        for name, value in self.state.items():
            mask = done if value.ndim == done.ndim else done[..., None]
            self.state[name] = self._backend.where(mask, fresh.get(name, 0), value)

    def observation(self) -> Array:
        """Compact observations: the day, then weights at its close [..., 1 + N]."""
        observation = self._backend.empty((*self.shape, 1 + self._assets), **self._options)
        observation[..., 0] = self.state["day"]
        observation[..., 1:] = self.state["weights"]
        return observation


def _rows(table: Array, day: Array) -> Array:
    return table.take(day, axis=0) if isinstance(table, np.ndarray) else table[day]
