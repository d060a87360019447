"""`PortfolioEnv`: one account in the portfolio market as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from data.errors import DataError
from data.fields import parse_date
from data.prices import Prices
from trading_app.market.accounts import AccountRules, State
from trading_app.market.base import base_weights
from trading_app.market.benchmark import benchmark_returns
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.encoding import FeatureWindows
from trading_app.market.panel import decision_range, trading_panel

Observation = NDArray[np.float32]
Action = NDArray[np.float32]


class PortfolioEnv(gymnasium.Env["Observation", "Action"]):
    """One account in the portfolio market.

    An action in [−1, 1]^N chooses target weights (`MarketConfig.actions`) at the close of a day; they fill
    at the next open or close. An observation has a row for each asset: its window of features, its weight,
    market-wide features and the net exposure, and where some asset is not available on some day, 1 where it is and
    0 where not; see `Market.encode`. Rewards, truncation and termination are those of `Market`, of which this is the
    single-account form on the same equations.

    Parameters
    ----------
    data
        Prices, or the name of a bundled dataset or snapshot, or a CSV or Parquet file.
    config
        Settings of the market.
    costs
        The cost model.
    start, end
        First and last session that an episode touches, both included.
    symbols
        Some of the symbols.
    home
        State directory with snapshots.
    render_mode
        None or ``ansi``.
    settings
        Fields of `MarketConfig` to change, such as ``actions="long-only"``.

    Raises
    ------
    DataError
        If data, symbols, dates or settings cannot be used.

    Examples
    --------
    >>> import gymnasium
    >>> env = gymnasium.make("equitrade/Portfolio-v0", data="factors-5")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape
    (5, 263)
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - Gymnasium's own declaration is not a ClassVar

    def __init__(
        self,
        data: str | Path | Prices = "sp500-20",
        *,
        config: MarketConfig | None = None,
        costs: CostModel | None = None,
        start: object = None,
        end: object = None,
        symbols: Sequence[str] | None = None,
        home: Path | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise DataError(f"render_mode is {render_mode!r}: it must be None or 'ansi'")
        prices = prices_of(data, symbols, home)
        self.market_config = changed_config(config, settings)
        prices = self.market_config.universe(prices)
        self.costs = (CostModel() if costs is None else costs).for_dates(prices.dates)
        self.panel = trading_panel(
            prices,
            self.market_config.fill,
            delist_after=self.market_config.delist_after,
            delisting_return=self.market_config.delisting_return,
        )
        self.render_mode = render_mode
        self._first, self._last = decision_range(prices, self.market_config, start, end)
        available = self._last - self._first + 1
        self.episode_length = min(available, self.market_config.episode_length or available)
        base = None
        if self.market_config.tilts:
            base = base_weights(prices, self.market_config, self._first, self._last + 1)
        days = self._first, self._last + 1
        self._windows = FeatureWindows(prices, self.market_config, base, self.panel.status.available, days)
        benchmark = None
        if self.market_config.reward == "active":
            days = (self._first, self._last)
            benchmark = benchmark_returns(prices, self.panel, self.market_config, self.costs, *days)[:2]
        self._rules = AccountRules(
            self.panel,
            self.market_config,
            self.costs,
            base=base,
            benchmark=benchmark,
            length=self.episode_length,
            dtype=np.float64,
        )
        self._state: State = {}
        self._over = True
        assets = len(prices.symbols)
        self.observation_space = spaces.Box(-np.inf, np.inf, (assets, self._windows.size), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (assets,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode in cash on a random day.

        Parameters
        ----------
        seed
            Seeds the random days from here on.
        options
            ``start``: the date of the first decision instead of a random one.

        Raises
        ------
        DataError
            If `start` is no session on which an episode can begin.
        """
        super().reset(seed=seed)
        latest = self._last - self.episode_length + 1
        start = (options or {}).get("start")
        if start is None:
            day = int(self.np_random.integers(self._first, latest + 1))
        else:
            day = self._position(start)
        self._state = self._rules.start(np.int64(day))
        self._over = False
        return self._observation(), self._info()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Choose target weights at the close of the day and step to the next close.

        Raises `DataError` if no episode is running.
        """
        if self._over:
            raise DataError("no episode is running: call reset() before step()")
        outcome = self._rules.step(self._state, np.asarray(action, dtype=np.float64))
        self._state, reward, ended, cut, _ = outcome
        terminated, truncated = bool(ended), bool(cut)
        self._over = terminated or truncated
        return self._observation(), float(reward), terminated, truncated, self._info()

    def render(self) -> str | None:
        """Return date, value and holdings as a line of text, in render mode ``ansi``."""
        if self.render_mode != "ansi" or not self._state:
            return None
        state = self._state
        held = ", ".join(
            f"{symbol} {weight:+.1%}"
            for symbol, weight in zip(self.panel.symbols, state["weights"], strict=True)
            if weight != 0
        )
        return (
            f"{self.panel.dates[int(state['day'])].date()} value {float(state['nav']):.4f}: {held or 'cash'}"
        )

    def _position(self, date: object) -> int:
        stamp = parse_date(date, "start")  # type: ignore[arg-type]
        day = int(self.panel.dates.searchsorted(stamp))
        if day >= len(self.panel.dates) or self.panel.dates[day] != stamp:
            raise DataError(f"start: {stamp.date()} is not a session of {self.panel.name}")
        if not self._first <= day <= self._last:
            dates = self.panel.dates
            raise DataError(
                f"start: a decision on {stamp.date()} is out of range; decisions lie from "
                f"{dates[self._first].date()} to {dates[self._last].date()}"
            )
        return day

    def _observation(self) -> Observation:
        state = self._state
        return self._windows.encode(int(state["day"]), state["weights"])

    def _info(self) -> dict[str, Any]:
        state = self._state
        return {"day": int(state["day"]), "nav": float(state["nav"]), "weights": state["weights"]}


def prices_of(data: str | Path | Prices, symbols: Sequence[str] | None, home: Path | None) -> Prices:
    """Return prices by name or path; prices are returned as they are."""
    from data.loading import load_prices

    if isinstance(data, str | Path):
        return load_prices(data, home=home, symbols=symbols)
    return data if symbols is None else data.select(symbols)


def changed_config(config: MarketConfig | None, settings: dict[str, Any]) -> MarketConfig:
    """Return the configuration with some fields changed. Raises `DataError` if there is no such field."""
    known = [field.name for field in fields(MarketConfig)]
    for name in settings:
        if name not in known:
            raise DataError(f"market.{name}: unknown setting; available: {', '.join(known)}")
    return replace(MarketConfig() if config is None else config, **settings)
