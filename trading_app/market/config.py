"""`MarketConfig`: settings of observations, actions and rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from data.errors import DataError
from trading_app.market.trading_status import DELIST_AFTER

Actions = Literal["long-short", "long-only"]
Reward = Literal["log", "mean-variance", "differential-sharpe"]

_RANGES: dict[str, tuple[float, float]] = {
    "window": (1, 1_000),
    "gross_limit": (1e-3, 20.0),
    "temperature": (0.02, 10.0),
    "risk_aversion": (0.0, 1_000.0),
    "sharpe_rate": (1e-6, 0.5),
    "reward_scale": (1e-9, 1e9),
    "episode_length": (1, 1_000_000),
    "max_weight": (1e-6, 20.0),
    "delist_after": (1, 1_000),
    "delisting_return": (-1.0, 1.0),
}


@dataclass(frozen=True)
class MarketConfig:
    """Settings of the portfolio market.

    Attributes
    ----------
    actions
        ``long-short``: an action in [−1, 1] is a share of ``max_weight``, scaled down where the gross limit
        would be passed. ``long-only``: softmax over N + 1 logits, the actions over ``temperature`` and 0 for
        cash.
    fill
        ``next_open``, ``next_close``, or None: the open where there are opens.
    window
        Sessions of features in an observation.
    features
        Names of `data.features.FEATURES`; None for the default ones.
    gross_limit
        Largest Σ |weight| of a long–short target.
    temperature
        Of the softmax; at 0.1 one asset, or cash, can hold 99.9 % of 20.
    max_weight
        Largest |weight| of an asset. By default 1 for long-only; for long–short four times the equal share
        of the gross limit, at most the limit.
    reward
        Of one step, from its fill to the next: ``log`` growth of the account, ``mean-variance`` (simple
        return less risk_aversion/2 times its square) or ``differential-sharpe`` (Moody and Saffell,
        "Learning to Trade via Direct Reinforcement", IEEE Transactions on Neural Networks 2001).
    risk_aversion
        Of the mean–variance reward.
    sharpe_rate
        Rate of the moving moments of the differential Sharpe ratio.
    reward_scale
        What rewards are multiplied by.
    episode_length
        Steps of an episode, at most what the range has; None for the whole range.
    delist_after
        Sessions without a trade after which a symbol has ended.
    delisting_return
        Return from the last price of a symbol that has ended to the price at which a position in it is closed.
    mirror
        Whether the symmetry includes the mirror Z2 (long–short only); None: where it can.

    Raises
    ------
    DataError
        If a value is out of range or does not fit another one; the message names it.
    """

    actions: Actions = "long-short"
    fill: Literal["next_open", "next_close"] | None = None
    window: int = 32
    features: tuple[str, ...] | None = None
    gross_limit: float = 1.0
    temperature: float = 0.1
    max_weight: float | None = None
    reward: Reward = "log"
    risk_aversion: float = 5.0
    sharpe_rate: float = 0.01
    reward_scale: float = 1.0
    episode_length: int | None = 252
    delist_after: int = DELIST_AFTER
    delisting_return: float = 0.0
    mirror: bool | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("actions", get_args(Actions)), ("reward", get_args(Reward))):
            if getattr(self, name) not in allowed:
                raise DataError(
                    f"market.{name} is {getattr(self, name)!r}: it must be one of {', '.join(allowed)}"
                )
        if self.fill not in (None, "next_open", "next_close"):
            raise DataError(f"market.fill is {self.fill!r}: it must be next_open or next_close")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in ("episode_length", "max_weight"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise DataError(f"market.{name} is {value!r}: it must lie from {low:g} to {high:g}")
            if name in ("window", "episode_length", "delist_after") and not isinstance(value, int):
                raise DataError(f"market.{name} is {value!r}: a whole number is needed")
        if self.mirror and self.actions == "long-only":
            raise DataError("market.mirror: long-only portfolios have no mirror image; use long-short")
        if self.features is not None:
            object.__setattr__(self, "features", tuple(self.features))
            if not self.features or any(not isinstance(name, str) for name in self.features):
                raise DataError("market.features: name at least one feature, or leave the default")

    @property
    def account(self) -> dict[str, Any]:
        """Rules of an account for `trading_app.backtest`: fill, gross limit and the end of a symbol."""
        return {
            "fill": self.fill,
            "gross_limit": self.gross_bound,
            "delist_after": self.delist_after,
            "delisting_return": self.delisting_return,
        }

    @property
    def uses_mirror(self) -> bool:
        """Whether the symmetry includes the mirror."""
        return self.actions == "long-short" if self.mirror is None else self.mirror

    @property
    def gross_bound(self) -> float:
        """An upper bound of Σ |weight| of any target."""
        return 1.0 if self.actions == "long-only" else self.gross_limit

    def weight_limit(self, assets: int) -> float:
        """Largest |weight| of one of so many assets."""
        if self.actions == "long-only":
            return min(1.0, self.max_weight or 1.0)
        return min(self.gross_limit, self.max_weight or 4.0 * self.gross_limit / assets)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, with the defaults filled in."""
        from data.features import DEFAULT_FEATURES

        return DEFAULT_FEATURES if self.features is None else self.features

    @property
    def history(self) -> int:
        """Sessions of prices that a decision needs: the window, and the history of its first features."""
        from data.features import FEATURES, VOLATILITY_WINDOW

        unknown = [name for name in self.feature_names if name not in FEATURES]
        if unknown:
            raise DataError(
                f"market.features: unknown feature {unknown[0]!r}; available: {', '.join(FEATURES)}"
            )
        longest = max(VOLATILITY_WINDOW, *(FEATURES[name].history for name in self.feature_names))
        return longest + self.window
