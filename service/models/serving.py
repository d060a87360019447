"""What the service asks of a trained policy, and how a run's policy gives it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from data import Prices
    from trading_app.experiments.policies import TrainedPolicy
    from trading_app.market.env import Market

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
# Decisions at one close after which more of them are expected: recording takes as long as a hundred.
_OFTEN = 16


@dataclass
class _Close:
    """What is kept for decisions at one close: the prices up to it, encoded, and how to decide quickly."""

    market: Market
    together: bool = False
    decisions: int = 0
    recorded: Callable[[Tensor], Tensor] | None = None


class ServedPolicy:
    """A trained policy that encodes each panel of prices once, and decides for several accounts together.

    It decides through `AgentPolicy.targets`, as the backtest does; what `TrainedPolicy.decide` makes anew at
    each call, the market of the prices up to the session, is kept for the next. Where many decisions are made at
    one close, the operations are recorded; the bits stay the same.

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
        self._closes: OrderedDict[tuple[str, pd.Timestamp], _Close] = OrderedDict()
        self._lock = threading.Lock()
        self.symbols = trained.symbols
        self.history = trained.history

    def targets(self, prices: Prices, as_of: pd.Timestamp, held: Floats) -> Floats:
        """Decide at the close of a session; later prices are cut off before anything is computed."""
        close = self._close(prices, as_of)
        if close.together:
            return self._padded(close, held)
        return np.concatenate([self._padded(close, row[None]) for row in held], axis=1)

    def _padded(self, close: _Close, held: Floats) -> Floats:
        import torch

        full = np.zeros((WIDTH, len(self.symbols)))
        full[: len(held)] = held
        batch = torch.from_numpy(full).expand(len(self._trained.seeds), -1, -1)
        decide = close.recorded or partial(self._decide, close.market)
        return decide(batch)[:, : len(held)].cpu().numpy().astype(np.float64)

    def _decide(self, market: Market, held: Tensor) -> Tensor:
        return self._trained.policy.targets(market, len(market.panel.dates) - 1, held)

    def _close(self, prices: Prices, as_of: pd.Timestamp) -> _Close:
        key = (prices.hash, as_of)
        with self._lock:
            found = self._closes.get(key)
            if found is None:
                known = prices if as_of == prices.dates[-1] else prices.between(None, as_of)
                market = self._trained.policy.market(known)
                market.pin(len(known.dates) - 1)
                found = _Close(market)
                found.together = self._places_are_equal(found)
                self._closes[key] = found
                if len(self._closes) > self._size:
                    self._closes.popitem(last=False)
            self._closes.move_to_end(key)
            found.decisions += 1
        if found.decisions == _OFTEN:
            threading.Thread(target=self._record, args=(found,), name="recorder").start()
        return found

    def _record(self, close: _Close) -> None:
        import torch

        from service.plans import record

        rng = np.random.default_rng(1)
        shape = (WIDTH, len(self.symbols))
        held = [torch.from_numpy(rng.uniform(-scale, scale, shape)) for scale in (0.05, 0.5)]
        batches = [weights.expand(len(self._trained.seeds), -1, -1) for weights in held]
        close.recorded = record(partial(self._decide, close.market), batches)

    def _places_are_equal(self, close: _Close) -> bool:
        """Whether this machine's matrix products give an account the same bits at every place."""
        rng = np.random.default_rng(0)
        held = rng.uniform(-0.1, 0.1, (WIDTH, len(self.symbols)))
        forwards = self._padded(close, held)
        backwards = self._padded(close, held[::-1])
        alone = self._padded(close, held[-1:])
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
