"""What the service asks of a trained policy; `trading_app.policies.TrainedPolicy` is one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from data import Prices
    from trading_app.market import Market
    from trading_app.policies import TrainedPolicy

Floats = NDArray[np.float64]


class Decision(Protocol):
    """Target weights for one session."""

    @property
    def weights(self) -> Floats:
        """Mean over seeds [N]."""

    @property
    def per_seed(self) -> Floats:
        """Weights of each seed [S, N]."""

    @property
    def spread(self) -> Floats:
        """Standard deviation over seeds [N]."""


class Policy(Protocol):
    """A policy that decides from prices and holdings."""

    @property
    def symbols(self) -> Sequence[str]:
        """Assets, in the order of the weights [N]."""

    @property
    def history(self) -> int:
        """Sessions of prices that a decision needs, the session decided on included."""

    def decide(self, prices: Prices, as_of: pd.Timestamp, holdings: Floats) -> Decision:
        """Decide at the close of `as_of`, holding the given weights [N]."""


Loader = Callable[[Path], Policy]


class ServedPolicy:
    """A trained policy that encodes each panel of prices once.

    It decides through `AgentPolicy.targets`, as the backtest does; what `TrainedPolicy.decide` makes anew at
    each call, the market of the prices up to the session, is kept for the next.

    Parameters
    ----------
    trained : TrainedPolicy
        The policy.
    size : int
        Markets to keep in memory.
    """

    def __init__(self, trained: TrainedPolicy, size: int = 4) -> None:
        self._trained = trained
        self._size = size
        self._markets: OrderedDict[tuple[str, pd.Timestamp], Market] = OrderedDict()
        self._lock = threading.Lock()
        self.symbols = trained.symbols
        self.history = trained.history

    def decide(self, prices: Prices, as_of: pd.Timestamp, holdings: Floats) -> Decision:
        """Decide at the close of a session; later prices are cut off before anything is computed."""
        import torch

        from trading_app.policies import Decision as Decided

        market = self._market(prices, as_of)
        held = torch.as_tensor(holdings).expand(len(self._trained.seeds), 1, -1)
        targets = self._trained.policy.targets(market, len(market.panel.dates) - 1, held)
        per_seed = targets[:, 0].double().cpu().numpy()
        return Decided(as_of, self.symbols, per_seed.mean(axis=0), per_seed)

    def _market(self, prices: Prices, as_of: pd.Timestamp) -> Market:
        key = (prices.hash, as_of)
        with self._lock:
            market = self._markets.get(key)
            if market is None:
                known = prices if as_of == prices.dates[-1] else prices.between(None, as_of)
                market = self._trained.policy.market(known)
                self._markets[key] = market
                if len(self._markets) > self._size:
                    self._markets.popitem(last=False)
            self._markets.move_to_end(key)
            return market


def load_trained(path: Path) -> Policy:
    """Load a run's policy from its folder.

    Raises
    ------
    DataError, ConfigError
        If something that it needs is missing or damaged.
    """
    from trading_app.policies import TrainedPolicy

    return ServedPolicy(TrainedPolicy.load(path))
