"""What the service asks of a trained policy; `trading_app.policies.TrainedPolicy` is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from data import Prices

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


def load_trained(path: Path) -> Policy:
    """Load a run's policy from its folder."""
    from trading_app.policies import TrainedPolicy

    policy: Policy = TrainedPolicy.load(path)
    return policy
