"""Trained policies as the service loads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from data import Prices
    from trading_app.market.config import MarketConfig
    from trading_app.market.costs import CostModel

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Policy(Protocol):
    """A policy that decides from prices and holdings; `trading_app.backtesting.policies.AgentPolicy` is one."""

    @property
    def symbols(self) -> Sequence[str]:
        """Assets, in the order of the weights [N]."""

    @property
    def history(self) -> int:
        """Sessions of prices that a decision needs, the session decided on included."""

    @property
    def config(self) -> MarketConfig:
        """Settings of the market that it was trained in."""

    @property
    def costs(self) -> CostModel:
        """Cost model of that market."""

    def on_symbols(self, symbols: tuple[str, ...]) -> Policy:
        """Return the policy for other symbols, of which it may know some.

        Raises `EquitradeError` if it is tied to its own.
        """

    def decide(self, prices: Prices, session: pd.Timestamp, held: Floats) -> Floats:
        """Return target weights of each seed [S, B, N] at the close of a session for held weights [B, N].

        The decision for one account depends neither on the other accounts nor on its place among them.
        """

    def decide_base(self, prices: Prices, session: pd.Timestamp, held: Floats) -> Floats | None:
        """Return target weights [B, N] for weights held [B, N] of a model that holds its base.

        None for a model that follows the mean of its seeds. Accounts do not depend on each other, as in `decide`.
        """


Loader = Callable[[Path], Policy]


def load_trained(path: Path) -> Policy:
    """Load a run's policy from its folder.

    Raises `DataError` or `ConfigError` if something that it needs is missing or damaged.
    """
    from trading_app.experiments.policies import load_policy

    return load_policy(path)
