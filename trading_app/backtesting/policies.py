"""Policies of trained agents: target weights of each seed and of their ensemble.

Every decision is `AgentPolicy.targets`: the backtest calls it for each session of a range (`AgentPolicy.rollout`), the
service for the accounts that ask at one close (`AgentPolicy.decide`). A decision depends on the prices up to a close
and on the weights held there, which drift with prices between fills.

Shapes: S seeds, B accounts, T sessions, N assets.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from data.errors import DataError
from data.fields import DateLike, parse_date
from data.prices import Prices
from rl_core.networks.universe import agent_on_rows
from rl_core.sac import SAC
from trading_app.backtesting.backtest import BatchResult, backtest
from trading_app.evaluation.agreement import Agreement
from trading_app.evaluation.metrics import sharpe
from trading_app.evaluation.sizing import Sizing
from trading_app.market.accounts import AccountRules
from trading_app.market.costs import CostModel
from trading_app.market.decisions import DayRows, Decision, decision_of, rows_of
from trading_app.market.env import Market, MarketConfig
from trading_app.market.limits import TOLERANCE, check_limits, excesses

Floats = NDArray[np.float64]

__all__ = ["AgentPolicy", "Rollout"]

# Matrix products of another width may differ in the last bit, so `decide` pads every batch of accounts to this one;
# eight accounts take little longer than one.
_WIDTH = 8
_ENCODED_MARKETS = 4


class _EncodedMarket(NamedTuple):
    """Prices up to a close, encoded, and whether accounts can be decided together on this machine."""

    market: Market
    together: bool


class _Path(NamedTuple):
    """Target weights of seeds and ensemble [S, T, 2, N], what seeds aim at [S, T, N], days on which limits bound.

    With a trading speed below 1, targets are a part of the way to an aim.
    """

    decided: Floats
    aims: Floats
    bound: dict[str, int]


@dataclass(frozen=True)
class Rollout:
    """Target weights decided on every session of a range, with the prices, costs and settings of the account.

    `ensemble` is the mean over seeds, for an account that follows this mean, date × symbol, or the base where the seeds
    do not agree; `per_seed` has the target weights of each seed, for an account that follows this seed alone [S, T, N].
    NaN where there is no order: on days outside the schedule, and within the no-trade band.

    `active` are the weights that each seed aims at on each day, whether there are orders or not, less those of the
    base; for actions without a base, less equal weights of what they invest. NaN for symbols that are not available
    [S, T, N].

    `bound` is the number of days on which each limit changed the target of the ensemble, by name.
    """

    prices: Prices
    costs: CostModel
    config: MarketConfig
    ensemble: pd.DataFrame
    per_seed: Floats
    active: Floats
    bound: Mapping[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """A sentence on the limits that bound, if any did."""
        if not self.bound:
            return []
        named = ", ".join(f"{name} on {days}" for name, days in self.bound.items())
        return [f"Limits that bound the agent's targets: {named} of {len(self.ensemble)} days."]

    @cached_property
    def seed_results(self) -> BatchResult:
        """Backtests of the accounts that follow one seed each."""
        start, end = self.ensemble.index[0], self.ensemble.index[-1]
        return backtest(  # type: ignore[return-value]  # three axes give a batch
            self.prices,
            self.per_seed,
            costs=self.costs,
            start=start,
            end=end,
            partial_orders=True,
            **self.config.account,
        )

    def summary(self) -> dict[str, Tensor]:
        """Return the net Sharpe ratio and the yearly growth of each seed [S]."""
        returns = np.asarray(self.seed_results.returns, dtype=np.float64)
        costs = self.seed_results.cost_model
        growth = np.log1p(np.maximum(returns, -1 + 1e-12)).mean(axis=0) * costs.sessions_a_year
        rate = costs.risk_free_of(self.seed_results.panel.dates)
        ratio = sharpe(returns, periods=costs.sessions_a_year, risk_free=rate)
        return {"sharpe": torch.as_tensor(ratio), "growth": torch.as_tensor(growth)}


class AgentPolicy:
    """Decisions of an agent, with all S seeds of a run, on the symbols that it was trained on or (`on_symbols`) others.

    `config` and `costs` are those of the market that it was trained in. Prices must have exactly its symbols, in this
    order. `agreement` is that of its seeds, where it was measured; where they disagree, the ensemble holds its base.
    `sizing` is the size and speed at which seeds and ensemble trade, where they were chosen; else the seeds' own.
    """

    def __init__(
        self,
        agent: SAC,
        config: MarketConfig,
        costs: CostModel,
        symbols: tuple[str, ...],
        agreement: Agreement | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        self.agent, self.config, self.costs, self.symbols = agent, config, costs, symbols
        self.agreement, self.sizing = agreement, sizing
        self._markets: LRUCache[tuple[str, pd.Timestamp], _EncodedMarket] = LRUCache(_ENCODED_MARKETS)
        self._lock = threading.Lock()

    def on_symbols(self, symbols: tuple[str, ...]) -> AgentPolicy:
        """Return the policy for other symbols, see `rl_core.networks.universe.agent_on_rows`.

        One that it was trained on has its own weights; any other one has the mean of those of the trained symbols.

        Raises
        ------
        EquitradeError
            If the agent is tied to its symbols, or a new one has no sector where the agent knows sectors.
        """
        config = self.config
        sectors, known = config.sector_numbers(symbols), []
        if sectors is not None:
            trained = config.sector_names(self.symbols)
            known = [_place(name, trained) for name in config.sector_names(symbols)]
        rows = [_place(symbol, self.symbols) for symbol in symbols]
        agent = agent_on_rows(self.agent, rows, sectors, known)
        sizing = None if self.sizing is None else self.sizing.on_assets(rows)
        return AgentPolicy(agent, config, self.costs, symbols, self.agreement, sizing)

    @cached_property
    def sizes(self) -> Tensor:
        """Size of each asset [N], or of all [1], where the pace is not the seeds' own."""
        assert self.pace is not None
        return self.pace.size * torch.tensor(self.pace.by_asset or [1.0], dtype=torch.float64)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the agent."""
        return self.agent.seeds

    @property
    def holds_base(self) -> bool:
        """Whether the ensemble holds its base on some day: the seeds do not agree, or no size earned more than it."""
        return any(found is not None and found.holds_base for found in (self.agreement, self.sizing))

    @property
    def pace(self) -> Sizing | None:
        """Size and speed of seeds and ensemble; None for the seeds' own, as where the ensemble holds its base."""
        return None if self.sizing is None or self.sizing.holds_base else self.sizing

    @property
    def history(self) -> int:
        """Sessions of prices that a decision needs, the session decided on included."""
        return self.config.history

    def market(self, prices: Prices, first: int = 0, dtype: torch.dtype = torch.float32) -> Market:
        """Return the market that encodes observations of these prices from a day on.

        DataError if they have other symbols.
        """
        if tuple(prices.symbols) != self.symbols:
            raise DataError(_other_symbols(self.symbols, prices))
        days = (first, len(prices.dates) - 1)
        seeds = self.agent.seeds
        return Market(prices, config=self.config, costs=self.costs, seeds=seeds, days=days, dtype=dtype)

    def targets(self, market: Market, day: int, held: Tensor) -> Tensor:
        """Return the target weights of each seed [S, B, N] at the close of a day, from weights held [S, B, N]."""
        actions = self.actions(market, day, held)
        if self.pace is not None:
            actions = market.paced(actions, day, held, self.sizes, self.pace.speed)
        return market.targets(actions, day, held)

    def aims(self, market: Market, day: int, held: Tensor, target: Tensor) -> Tensor:
        """Return the weights [S, B, N] that seeds with these targets trade towards, which they reach at full speed."""
        if self.pace is not None and self.pace.speed < 1.0:
            target = market.targets(self.actions(market, day, held).double() * self.sizes, day, held)
        return held + (target - held) / self.config.trading_speed

    def actions(self, market: Market, day: int, held: Tensor) -> Tensor:
        """Return the actions of each seed [S, B, N] in (−1, 1), for the same arguments."""
        stamp = torch.full_like(held[..., :1], float(day))
        x = market.encode(torch.cat([stamp, held], dim=-1).float())
        return self.agent.act(x, deterministic=True)

    def base_targets(self, market: Market, day: int, held: Tensor) -> Tensor | None:
        """Return the targets [..., N] of an ensemble that holds its base, from weights held at the close of a day.

        None where the ensemble follows the mean of its seeds.
        """
        return market.targets(torch.zeros_like(held), day, held) if self.holds_base else None

    def decide(self, prices: Prices, session: DateLike, held: Floats) -> Floats:
        """Return the target weights of each seed [S, B, N] for B accounts at the close of one session.

        The decision for an account depends neither on the other accounts nor on its place among them, to the bit.
        Prices after the session are cut off before anything is computed. The encoded prices of the last few sessions
        asked for are cached. Several threads may call this at once. `held` are the weights at that close [B, N]; the
        rest is cash.

        Raises
        ------
        DataError
            If the symbols differ, `session` is no session of the prices, the history is too short, or `held` does not
            fit.
        """
        market, batches = self._batches(prices, session, held)
        return np.concatenate([self._padded(market, batch) for batch in batches], axis=1)

    def decide_base(self, prices: Prices, session: DateLike, held: Floats) -> Floats | None:
        """Return `base_targets` [B, N] at the close of one session, for weights held as for `decide`."""
        if not self.holds_base:
            return None
        market, batches = self._batches(prices, session, held)
        decided = [part for batch in batches if (part := self._padded_base(market, batch)) is not None]
        return np.concatenate(decided) if decided else None

    def weights(
        self, prices: Prices, start: DateLike | None = None, end: DateLike | None = None
    ) -> tuple[pd.DataFrame, Floats]:
        """Return target weights over a range: of the ensemble (date × symbol) and of each seed [S, T, N]."""
        path = self.rollout(prices, start, end)
        return path.ensemble, path.per_seed

    def rollout(self, prices: Prices, start: DateLike | None = None, end: DateLike | None = None) -> Rollout:
        """Decide on each session from `start` to `end`, beginning in cash.

        Prices before `start` serve as history; prices after `end` are cut off.
        """
        known = prices.between(None, end)
        first = int(known.dates.searchsorted(parse_date(start, "start"))) if start is not None else 0
        known.check_signals(first, len(known.dates) - 1)
        market = self.market(known, first)
        path = self._path(market, first)
        frame = pd.DataFrame(path.decided[0, :, 1], index=known.dates[first:], columns=list(self.symbols))
        active = _active_weights(market, first, path.aims)
        return Rollout(
            known, self.costs, self.config, frame, path.decided[:, :, 0], active=active, bound=path.bound
        )

    def _path(self, market: Market, first: int) -> _Path:
        """Return the decisions of each seed with its own holdings, and of the ensemble with its own."""
        count = len(market.panel.dates)
        rules = AccountRules(
            market.panel, self.config, market.costs, base=market.base, length=count, dtype=np.float64
        )
        state, bound = rules.start(np.full((len(self.seeds), 2), first)), Counter[str]()
        decided = np.empty((count - first, len(self.seeds), 2, len(self.symbols)))
        aims = np.empty((count - first, len(self.seeds), len(self.symbols)))
        for day in range(first, count):
            held = torch.from_numpy(state["weights"])
            target = self.targets(market, day, held).double().cpu()
            aims[day - first] = self.aims(market, day, held[:, :1], target[:, :1])[:, 0]
            base = self.base_targets(market, day, held[:1, 1])
            target[:, 1] = target[:, 1].mean(0) if base is None else base
            rows = rows_of(rules.tables, np.int64(day))
            decision = decision_of(target.numpy(), state["weights"], rows, self.config)
            if self.config.limits.names:
                over = self._checked(decision, state["weights"], rows, market.panel.dates[day])
                bound.update(name for name, accounts in over.items() if accounts[0, 1])
            decided[day - first] = decision.instructions
            if day + 1 < count:
                state = rules.trade(state, decision).state
        return _Path(decided.transpose(1, 0, 2, 3), aims.transpose(1, 0, 2), dict(bound))

    def _checked(
        self, decision: Decision, held: Floats, rows: DayRows, day: pd.Timestamp
    ) -> dict[str, NDArray[np.bool_]]:
        """Check a decision against the limits, and return which of them it would have passed, by name [S, 2].

        LimitConflict if it passes one.
        """
        limits, wanted = self.config.limits, decision.wanted
        assert wanted is not None
        broken = excesses(decision.target, held, rows.limits, limits).values()
        for account in np.argwhere(np.any([excess > TOLERANCE for excess in broken], axis=0)):
            place = tuple(account)
            own = decision.target[place], held[place], wanted[place]
            check_limits(*own, rows.limits, limits, str(day.date()))
        found = excesses(wanted, held, rows.limits, limits)
        return {name: excess > TOLERANCE for name, excess in found.items()}

    def _encoded(self, prices: Prices, session: pd.Timestamp) -> _EncodedMarket:
        key = (prices.inputs_hash, session)
        with self._lock:
            encoded = self._markets.get(key)
            if encoded is None:
                known = self._history(prices, session)
                market = self.market(known, len(known.dates) - 1)
                market.pin(len(known.dates) - 1)
                encoded = self._markets[key] = _EncodedMarket(market, self._places_are_equal(market))
        return encoded

    def _batches(self, prices: Prices, session: DateLike, held: Floats) -> tuple[Market, list[Floats]]:
        """Return the market that ends on a session, and weights held in batches that are decided together."""
        if held.ndim != 2 or held.shape[1] != len(self.symbols) or not np.isfinite(held).all():
            raise DataError(
                f"held weights have shape {held.shape}; give finite weights [accounts, {len(self.symbols)}]"
            )
        market, together = self._encoded(prices, parse_date(session, "session"))
        width = _WIDTH if together else 1
        return market, [held[first : first + width] for first in range(0, len(held), width)]

    def _history(self, prices: Prices, session: pd.Timestamp) -> Prices:
        known = prices if session == prices.dates[-1] else prices.between(None, session)
        if known.dates[-1] != session:
            raise DataError(f"{prices.name}: {session.date()} is not a session of these prices")
        if len(known.dates) < self.history:
            raise DataError(
                f"{prices.name}: {len(known.dates)} sessions of prices up to {session.date()} are too few; "
                f"this policy needs {self.history}"
            )
        known.check_signals(len(known.dates) - 1, len(known.dates) - 1)
        return known

    def _padded(self, market: Market, held: Floats) -> Floats:
        batch = self._full_batch(held).expand(len(self.seeds), -1, -1)
        decided = self.targets(market, len(market.panel.dates) - 1, batch)
        return decided[:, : len(held)].cpu().numpy().astype(np.float64)

    def _padded_base(self, market: Market, held: Floats) -> Floats | None:
        targets = self.base_targets(market, len(market.panel.dates) - 1, self._full_batch(held))
        return None if targets is None else targets[: len(held)].cpu().numpy().astype(np.float64)

    def _full_batch(self, held: Floats) -> Tensor:
        """Weights held [B, N] as a batch of the one size in which all decisions are computed, [_WIDTH, N]."""
        full = np.zeros((_WIDTH, len(self.symbols)))
        full[: len(held)] = held
        return torch.from_numpy(full)

    def _places_are_equal(self, market: Market) -> bool:
        """Return whether this machine's matrix products compute the same bits at every place of a batch."""
        rng = np.random.default_rng(0)
        held = rng.uniform(-0.1, 0.1, (_WIDTH, len(self.symbols)))

        def equal(decide: Callable[[Market, Floats], Floats | None]) -> bool:
            forwards, backwards, alone = (decide(market, x) for x in (held, held[::-1], held[-1:]))
            if forwards is None or backwards is None or alone is None:
                return True
            ends = np.array_equal(forwards[..., -1:, :], alone)
            return ends and np.array_equal(forwards, backwards[..., ::-1, :])

        return equal(self._padded) and equal(self._padded_base)


def _active_weights(market: Market, first: int, aims: Floats) -> Floats:
    """Return the active weights of seeds with these aims [S, T, N] from a day on; see `Rollout`."""
    available = market.panel.status.available[first:]
    if market.base is None:
        symbols = np.maximum(available.sum(axis=-1, keepdims=True), 1)
        return np.where(available, aims - aims.sum(axis=-1, keepdims=True) / symbols, np.nan)
    return np.where(available, aims - market.base[first:], np.nan)


def _place(name: str, names: tuple[str, ...]) -> int | None:
    return names.index(name) if name in names else None


def _other_symbols(symbols: tuple[str, ...], prices: Prices) -> str:
    missing = [s for s in symbols if s not in prices.symbols]
    extra = [s for s in prices.symbols if s not in symbols]
    what = []
    if missing:
        what.append(f"lacks {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}")
    if extra:
        what.append(f"also has {', '.join(extra[:5])}{' …' if len(extra) > 5 else ''}")
    if not what:
        what.append("has them in another order")
    return f"{prices.name}: the policy was trained on {len(symbols)} other symbols; this data {' and '.join(what)}"
