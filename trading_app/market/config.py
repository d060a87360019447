"""`MarketConfig`: settings of observations, actions and rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from data.errors import DataError
from trading_app.market.limits import LimitConflict, Limits
from trading_app.market.trading_status import DELIST_AFTER

if TYPE_CHECKING:
    from data.prices import Prices

Actions = Literal["long-short", "long-only", "tilt"]
Base = Literal["equal-weight", "inverse-volatility", "min-variance", "given"]
Rebalance = Literal["daily", "weekly", "monthly"]
Exchange = Literal["all", "sectors"]
Reward = Literal["log", "mean-variance", "differential-sharpe", "active"]

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
    "active_gross": (1e-6, 20.0),
    "max_active": (1e-6, 20.0),
    "trading_speed": (1e-3, 1.0),
    "no_trade_band": (0.0, 1.0),
    "turnover_penalty": (0.0, 10.0),
}
_OPTIONAL = ("episode_length", "max_weight", "max_active")
# Returns that a base portfolio with volatilities needs; see `trading_app.market.base`.
BASE_MINIMUM = 63


@dataclass(frozen=True)
class MarketConfig:
    """Settings of the portfolio market.

    Attributes
    ----------
    actions
        ``long-short``: an action in [−1, 1] is a share of ``max_weight``, scaled down where the gross limit
        would be passed. ``long-only``: softmax over N + 1 logits, the actions over ``temperature`` and 0 for
        cash. ``tilt``: active weights around a base portfolio; an action of 0 is the base itself.
    base
        Base portfolio of a tilt, computed from prices up to the close decided on: ``equal-weight``,
        ``inverse-volatility``, ``min-variance`` (as the baselines of these names) or ``given`` (`base_weights`).
    base_weights
        Weights of a given base by symbol; 0 for symbols that are not named.
    active_gross
        Largest Σ |weight − base weight| of a tilt: twice its active share.
    max_active
        Largest |weight − base weight| of an asset. By default four times the equal share of ``active_gross``, at most
        all of it.
    active_net
        Whether a tilt may change the net exposure; otherwise its active weights sum to 0, so that what the base invests
        stays invested.
    short_positions
        Whether a tilt may have weights below 0.
    trading_speed
        Share of the way from the weights held to the target that is traded, with any of the actions (Gârleanu and
        Pedersen, "Dynamic Trading with Predictable Returns and Transaction Costs", Journal of Finance 2013: trade
        part of the way towards an aim); 1 trades all of it.
    no_trade_band
        An asset trades only where its target is further than this from the weight held at the close decided on; 0 for
        no band.
    rebalance
        Sessions with orders: ``daily``, the first session of each week (``weekly``) or month (``monthly``), or a number
        k for each k-th session, counted from the first one of the prices. An account that holds nothing may trade in
        any session. In an asset that did not trade in the session decided on, an order is possible whatever schedule
        and band.
    fill
        ``next_open``, ``next_close``, or None: the open where there are opens.
    window
        Sessions of features in an observation.
    features
        Names of `data.features.FEATURES`, and ``NAME:COLUMN`` of signals beside the prices; None for the default ones.
    gross_limit
        Largest Σ |weight| of a long–short target or of a tilt.
    temperature
        Of the softmax; at 0.1 one asset, or cash, can hold 99.9 % of 20.
    max_weight
        Largest |weight| of an asset. By default 1 for long-only; for long–short four times the equal share
        of the gross limit, at most the limit.
    reward
        Of one step, from its fill to the next: ``log`` growth of the account, ``mean-variance`` (simple
        return less risk_aversion/2 times its square), ``differential-sharpe`` (Moody and Saffell,
        "Learning to Trade via Direct Reinforcement", IEEE Transactions on Neural Networks 2001) or ``active``: the
        simple return less that of the benchmark, less risk_aversion/2 times the square of the difference. Costs are
        part of both returns.
    risk_aversion
        Of the mean–variance and the active reward.
    benchmark
        Of the active reward: ``base`` (of a tilt, its default), ``equal-weight``, ``inverse-volatility``,
        ``min-variance``, a symbol of the prices, or a CSV or Parquet file with dates and levels. Portfolios and symbols
        are accounts with the same fills, costs and schedule; a file has no costs but those in its levels. Where fills
        are at the open, its return is that of the session of the fill, from close to close.
    limits
        Limits of weights and trades, the same in training, backtests and the service.
    turnover_penalty
        Subtracted from the reward of a step for each unit of turnover ½ Σ |trade|, beyond costs, in units of return.
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
        Whether the symmetry includes the mirror Z2, of the weights (long–short) or of the active weights (tilt); None:
        where it can.
    exchange
        Assets that the symmetry exchanges: ``all`` of them, or only those of the same sector (``sectors``).
    sectors
        Sector of each symbol; `equitrade train` also reads it from `sector_file`. By default the groups of the limits.
    sector_file
        CSV file with the columns symbol and group.
    members
        Times at which each symbol belongs to the universe, ``FROM/TO`` or ``FROM/``; `equitrade train` also reads them
        from `member_file`. A symbol that does not belong on the day of a decision is given no weight, by agents, bases
        and baselines; None where all belong.
    member_file
        File with the columns symbol, from and to (`data.membership`).

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
    exchange: Exchange = "all"
    sectors: Mapping[str, str] | None = None
    sector_file: str | None = None
    members: Mapping[str, tuple[str, ...]] | None = None
    member_file: str | None = None
    base: Base = "equal-weight"
    base_weights: Mapping[str, float] | None = None
    active_gross: float = 0.5
    max_active: float | None = None
    active_net: bool = False
    short_positions: bool = False
    trading_speed: float = 1.0
    no_trade_band: float = 0.0
    rebalance: str | int = "daily"
    benchmark: str | None = None
    turnover_penalty: float = 0.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, allowed in (
            ("actions", get_args(Actions)),
            ("reward", get_args(Reward)),
            ("base", get_args(Base)),
            ("exchange", get_args(Exchange)),
        ):
            if getattr(self, name) not in allowed:
                raise DataError(
                    f"market.{name} is {getattr(self, name)!r}: it must be one of {', '.join(allowed)}"
                )
        if self.fill not in (None, "next_open", "next_close"):
            raise DataError(f"market.fill is {self.fill!r}: it must be next_open or next_close")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise DataError(f"market.{name} is {value!r}: it must lie from {low:g} to {high:g}")
            if name in ("window", "episode_length", "delist_after") and not isinstance(value, int):
                raise DataError(f"market.{name} is {value!r}: a whole number is needed")
        if self.mirror and self.actions == "long-only":
            raise DataError("market.mirror: long-only portfolios have no mirror image; use long-short")
        if self.exchange == "sectors" and not (self._sector_map or self.sector_file):
            raise DataError("market.exchange is 'sectors': name the sectors in market.sector_file")
        self._check_base()
        self._complete_limits()
        if self.reward == "active" and self.benchmark_name is None:
            raise DataError("market.benchmark: the active reward needs one, for example equal-weight")
        if self.benchmark == "base" and not self.tilts:
            raise DataError("market.benchmark is 'base': only market.actions = 'tilt' has a base")
        rebalance = self.rebalance
        if isinstance(rebalance, str) and rebalance.isdecimal():
            object.__setattr__(self, "rebalance", int(rebalance))
        elif rebalance not in get_args(Rebalance) and (
            isinstance(rebalance, bool) or not isinstance(rebalance, int)
        ):
            raise DataError(
                f"market.rebalance is {rebalance!r}: it must be {', '.join(get_args(Rebalance))} "
                "or a number of sessions"
            )
        if isinstance(self.rebalance, int) and self.rebalance < 1:
            raise DataError(f"market.rebalance is {self.rebalance}: at least 1 session is needed")
        if self.features is not None:
            object.__setattr__(self, "features", tuple(self.features))
            if not self.features or any(not isinstance(name, str) for name in self.features):
                raise DataError("market.features: name at least one feature, or leave the default")

    def _complete_limits(self) -> None:
        """Add what the actions imply to limits: no weight below 0 without short positions, and the gross limit."""
        limits = self.limits
        if not limits.names:
            return
        if self.actions == "long-only" or (self.tilts and not self.short_positions):
            limits = replace(limits, min_weight=max(limits.min_weight or 0.0, 0.0))
        gross = self.gross_bound if limits.gross is None else min(limits.gross, self.gross_bound)
        if limits.net_min is not None and limits.net_min > gross:
            raise LimitConflict(
                f"market.limits: net_min ({limits.net_min:g}) is above the gross limit ({gross:g}); raise one or lower "
                "the other"
            )
        object.__setattr__(self, "limits", replace(limits, gross=gross))

    def _check_base(self) -> None:
        weights = self.base_weights
        if (weights is not None) != (self.base == "given"):
            raise DataError(
                "market.base_weights: give weights with market.base = 'given', and with no other base"
            )
        if weights is None:
            if self.tilts and self.gross_limit < 1:
                raise DataError(
                    f"market.gross_limit is {self.gross_limit:g}: the base {self.base} needs at least 1"
                )
            return
        gross = sum(map(abs, weights.values()))
        if not 0 < gross <= self.gross_limit + 1e-9:
            raise DataError(
                f"market.base_weights: Σ |weight| is {gross:g}; it must be above 0 and at most market.gross_limit, "
                f"{self.gross_limit:g}"
            )
        if min(weights.values()) < 0 and not self.short_positions:
            raise DataError("market.base_weights: a weight is below 0; set market.short_positions = true")

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
        return self.actions != "long-only" if self.mirror is None else self.mirror

    def universe(self, prices: Prices) -> Prices:
        """Return prices with the dated membership of this market, where it has one.

        DataError if none of their symbols ever belongs.
        """
        if self.members is None:
            return prices
        from data.membership import Membership

        return prices.with_members(Membership.from_times(self.members))

    @property
    def _sector_map(self) -> Mapping[str, str]:
        return self.sectors or self.limits.groups or {}

    def sector_names(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the sectors of these symbols, in the order of their numbers."""
        return tuple(sorted({self._sector_map[symbol] for symbol in symbols}))

    def sector_numbers(self, symbols: Sequence[str]) -> tuple[int, ...] | None:
        """Return the number of each symbol's sector; None where all assets are exchangeable.

        DataError for a symbol without a sector.
        """
        if self.exchange == "all":
            return None
        missing = [symbol for symbol in symbols if symbol not in self._sector_map]
        if missing:
            raise DataError(f"market.sectors: {missing[0]} has no sector; add it to market.sector_file")
        names = self.sector_names(symbols)
        return tuple(names.index(self._sector_map[symbol]) for symbol in symbols)

    @property
    def tilts(self) -> bool:
        """Whether actions are active weights around a base."""
        return self.actions == "tilt"

    @property
    def benchmark_name(self) -> str | None:
        """The benchmark; that of a tilt is its base by default."""
        return self.benchmark or ("base" if self.tilts else None)

    @property
    def plain_tilt(self) -> dict[str, Any]:
        """Settings of an account that holds a base and nothing else, on the same schedule."""
        return {
            "actions": "tilt",
            "reward": "log",
            "benchmark": None,
            "turnover_penalty": 0.0,
            "limits": Limits(),
            "no_trade_band": 0.0,
            "trading_speed": 1.0,
            "mirror": None,
        }

    @property
    def orders_everything(self) -> bool:
        """Whether every decision is an order in every asset: no schedule and no band."""
        return self.rebalance in ("daily", 1) and self.no_trade_band == 0

    @property
    def gross_bound(self) -> float:
        """An upper bound of Σ |weight| of any target."""
        return 1.0 if self.actions == "long-only" else self.gross_limit

    def weight_limit(self, assets: int) -> float:
        """Largest |weight| of one of so many assets."""
        if self.actions == "long-only":
            return min(1.0, self.max_weight or 1.0)
        return min(self.gross_limit, self.max_weight or 4.0 * self.gross_limit / assets)

    def active_limit(self, assets: int) -> float:
        """Largest |weight − base weight| of one of so many assets."""
        return min(self.active_gross, self.max_active or 4.0 * self.active_gross / assets)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, with the defaults filled in."""
        from data.features import DEFAULT_FEATURES

        return DEFAULT_FEATURES if self.features is None else self.features

    @property
    def history(self) -> int:
        """Sessions of prices that a decision needs: the window, and the history of its first features."""
        from data.features import VOLATILITY_WINDOW, feature_history

        try:
            histories = [feature_history(name) for name in self.feature_names]
        except DataError as error:
            raise DataError(f"market.features: {error}") from None
        needed = max(VOLATILITY_WINDOW, *histories) + self.window
        estimated = self.tilts and self.base in ("inverse-volatility", "min-variance")
        return max(needed, BASE_MINIMUM + 1) if estimated else needed
