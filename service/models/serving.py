"""Trained policies as the service loads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from data import Prices
    from trading_app.experiments.policies import TrainedPolicy
    from trading_app.market.env import Market

Floats = NDArray[np.float64]

# Accounts in one batch. Matrix products of another width may differ in the last bit, so every batch is padded
# to this one; a decision for eight accounts takes little longer than one for a single account.
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
        """Return target weights of each seed [S, B, N] at the close of `as_of` for held weights [B, N], B ≤ `WIDTH`.

        The decision for one account depends neither on the other accounts nor on its place among them.
        """


Loader = Callable[[Path], Policy]


class _EncodedMarket(NamedTuple):
    """Prices up to a close, encoded, and whether accounts can be decided together on this machine."""

    market: Market
    together: bool


class ServedPolicy:
    """A trained policy that encodes the prices up to a close once, and decides for several accounts together.

    It decides through `AgentPolicy.targets`, as the backtest does.

    Parameters
    ----------
    trained : TrainedPolicy
        The policy.
    size : int
        Encoded markets in memory.
    """

    def __init__(self, trained: TrainedPolicy, size: int = 4) -> None:
        self._trained = trained
        self._markets: LRUCache[tuple[str, pd.Timestamp], _EncodedMarket] = LRUCache(size)
        self._lock = threading.Lock()
        self.symbols = trained.symbols
        self.history = trained.history

    def targets(self, prices: Prices, as_of: pd.Timestamp, held: Floats) -> Floats:
        """Decide at the close of a session; later prices are cut off before anything is computed."""
        encoded = self._encoded(prices, as_of)
        if encoded.together:
            return self._padded(encoded.market, held)
        return np.concatenate([self._padded(encoded.market, row[None]) for row in held], axis=1)

    def _padded(self, market: Market, held: Floats) -> Floats:
        import torch

        full = np.zeros((WIDTH, len(self.symbols)))
        full[: len(held)] = held
        batch = torch.from_numpy(full).expand(len(self._trained.seeds), -1, -1)
        decided = self._trained.policy.targets(market, len(market.panel.dates) - 1, batch)
        return decided[:, : len(held)].cpu().numpy().astype(np.float64)

    def _encoded(self, prices: Prices, as_of: pd.Timestamp) -> _EncodedMarket:
        key = (prices.hash, as_of)
        with self._lock:
            encoded = self._markets.get(key)
            if encoded is None:
                known = prices if as_of == prices.dates[-1] else prices.between(None, as_of)
                market = self._trained.policy.market(known)
                market.pin(len(known.dates) - 1)
                encoded = self._markets[key] = _EncodedMarket(market, self._places_are_equal(market))
        return encoded

    def _places_are_equal(self, market: Market) -> bool:
        """Return whether this machine's matrix products compute the same bits at every place of a batch."""
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
    from trading_app.experiments.policies import TrainedPolicy

    return ServedPolicy(TrainedPolicy.load(path))
