"""Agents that decide one after another for the same account.

Shapes: S seeds, B accounts, N assets.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from torch import Tensor

from trading_app.backtesting.policies import AgentPolicy
from trading_app.market.env import Market

__all__ = ["RelayPolicy"]


class RelayPolicy(AgentPolicy):
    """Agents that decide one after another for the same account, as the folds of a walk-forward run do.

    The policies are in order of time, with the same seeds, settings and symbols. `starts` is the first date of each;
    before the first date the first policy decides.
    """

    def __init__(self, policies: Sequence[AgentPolicy], starts: pd.DatetimeIndex) -> None:
        last = policies[-1]
        super().__init__(last.agent, last.config, last.costs, last.symbols)
        self.policies, self.starts = tuple(policies), starts

    def on_symbols(self, symbols: tuple[str, ...]) -> RelayPolicy:
        """Return the policies for other symbols, see `AgentPolicy.on_symbols`."""
        return RelayPolicy([policy.on_symbols(symbols) for policy in self.policies], self.starts)

    @property
    def holds_base(self) -> bool:
        """Whether the ensemble of any of the policies holds its base."""
        return any(policy.holds_base for policy in self.policies)

    def targets(self, market: Market, day: int, held: Tensor) -> Tensor:
        """Return target weights [S, B, N] by the policy of that day."""
        return self._on(market, day).targets(market, day, held)

    def actions(self, market: Market, day: int, held: Tensor) -> Tensor:
        """Return actions [S, B, N] by the policy of that day."""
        return self._on(market, day).actions(market, day, held)

    def aims(self, market: Market, day: int, held: Tensor, target: Tensor) -> Tensor:
        """Return what seeds trade towards [S, B, N] by the policy of that day."""
        return self._on(market, day).aims(market, day, held, target)

    def base_targets(self, market: Market, day: int, held: Tensor) -> Tensor | None:
        """Return the targets [..., N] of the policy of that day, if its ensemble holds its base."""
        return self._on(market, day).base_targets(market, day, held)

    def _on(self, market: Market, day: int) -> AgentPolicy:
        turn = int(self.starts.searchsorted(market.panel.dates[day], side="right")) - 1
        return self.policies[max(turn, 0)]
