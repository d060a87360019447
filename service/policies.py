"""What the service asks of a trained policy, and how a run's policy gives it."""

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

# Accounts decided for together. Matrix products of another width may differ in the last bit, so every
# decision is made at this one, padded; a decision for eight accounts takes little longer than one for a
# single account.
WIDTH = 8


class Policy(Protocol):
    """A policy that decides from prices and holdings."""

    @property
    def symbols(self) -> Sequence[str]:
        """Assets, in the order of the weights [N]."""

    @property
    def history(self) -> int:
        """Sessions of prices that a decision needs, the session decided on included."""

    def targets(self, prices: Prices, as_of: pd.Timestamp, held: Floats) -> Floats:
        """Target weights of each seed [S, B, N] at the close of `as_of`, holding weights [B, N], B ≤ `WIDTH`.

        What is decided for one account does not depend on the other accounts, nor on its place among them.
        """


Loader = Callable[[Path], Policy]


class ServedPolicy:
    """A trained policy that encodes each panel of prices once, and decides for several accounts together.

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
        self._markets: OrderedDict[tuple[str, pd.Timestamp], tuple[Market, bool]] = OrderedDict()
        self._lock = threading.Lock()
        self.symbols = trained.symbols
        self.history = trained.history

    def targets(self, prices: Prices, as_of: pd.Timestamp, held: Floats) -> Floats:
        """Decide at the close of a session; later prices are cut off before anything is computed."""
        market, together = self._market(prices, as_of)
        if together:
            return self._padded(market, held)
        return np.concatenate([self._padded(market, row[None]) for row in held], axis=1)

    def _padded(self, market: Market, held: Floats) -> Floats:
        import torch

        full = np.zeros((WIDTH, len(self.symbols)))
        full[: len(held)] = held
        batch = torch.from_numpy(full).expand(len(self._trained.seeds), -1, -1)
        targets = self._trained.policy.targets(market, len(market.panel.dates) - 1, batch)
        found: Floats = targets[:, : len(held)].double().cpu().numpy()
        return found

    def _market(self, prices: Prices, as_of: pd.Timestamp) -> tuple[Market, bool]:
        key = (prices.hash, as_of)
        with self._lock:
            found = self._markets.get(key)
            if found is None:
                known = prices if as_of == prices.dates[-1] else prices.between(None, as_of)
                market = self._trained.policy.market(known)
                found = market, self._places_are_equal(market)
                self._markets[key] = found
                if len(self._markets) > self._size:
                    self._markets.popitem(last=False)
            self._markets.move_to_end(key)
            return found

    def _places_are_equal(self, market: Market) -> bool:
        """Whether this machine's matrix products give an account the same bits at every place."""
        rng = np.random.default_rng(0)
        held = rng.uniform(-0.1, 0.1, (WIDTH, len(self.symbols)))
        forwards = self._padded(market, held)
        backwards = self._padded(market, held[::-1])
        alone = self._padded(market, held[-1:])
        return np.array_equal(forwards, backwards[:, ::-1]) and np.array_equal(forwards[:, -1:], alone)


def load_trained(path: Path) -> Policy:
    """Load a run's policy from its folder.

    Raises
    ------
    DataError, ConfigError
        If something that it needs is missing or damaged.
    """
    from trading_app.policies import TrainedPolicy

    return ServedPolicy(TrainedPolicy.load(path))
