"""Trained policies: what each seed and their ensemble would hold, day by day or on one day.

One code path decides in validation, in the backtest and in the service: `AgentPolicy.targets`. A day's decision depends
on the prices up to its close and on the weights held then, which drift with prices between fills, so a path is
computed day by day, for all seeds and the ensemble at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data.errors import DataError
from data.fields import DateLike, parse_date
from data.prices import Prices
from rl_core.sac import SAC
from trading_app.backtesting.backtest import backtest
from trading_app.evaluation.metrics import sharpe
from trading_app.market.accounting import Rates, advance
from trading_app.market.costs import CostModel
from trading_app.market.env import Market, MarketConfig
from trading_app.market.panel import ratio
from trading_app.market.partial_fills import executed_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Decision:
    """What to hold from the next fill on.

    Attributes
    ----------
    as_of
        The session at whose close this was decided.
    weights
        Mean of the seeds' targets [N], fractions of the account; the rest is cash.
    per_seed
        Each seed's target [S, N].
    spread
        Standard deviation over seeds [N]: how much they disagree.
    """

    as_of: pd.Timestamp
    symbols: tuple[str, ...]
    weights: NDArray[np.float64]
    per_seed: NDArray[np.float64]

    @property
    def spread(self) -> NDArray[np.float64]:
        """Standard deviation of the targets over seeds [N]."""
        return np.asarray(self.per_seed.std(axis=0))

    @property
    def cash(self) -> float:
        """What is not in assets."""
        return float(1.0 - self.weights.sum())


@dataclass(frozen=True)
class Rollout:
    """Targets decided on every session of a range.

    Attributes
    ----------
    ensemble
        Date × symbol: the mean over seeds, each seeing the ensemble's own holdings.
    per_seed
        Targets of each seed following its own holdings [S, T, N].
    """

    prices: Prices
    costs: CostModel
    config: MarketConfig
    ensemble: pd.DataFrame
    per_seed: NDArray[np.float64]

    def summary(self) -> dict[str, Tensor]:
        """Net Sharpe ratio and yearly growth of each seed, [S]."""
        start, end = self.ensemble.index[0], self.ensemble.index[-1]
        batch = backtest(
            self.prices, self.per_seed, costs=self.costs, start=start, end=end, **self.config.account
        )
        returns = np.asarray(batch.returns, dtype=np.float64)
        costs = batch.cost_model
        growth = np.log1p(np.maximum(returns, -1 + 1e-12)).mean(axis=0) * costs.sessions_a_year
        ratio = sharpe(returns, periods=costs.sessions_a_year, risk_free=costs.risk_free)
        return {"sharpe": torch.as_tensor(ratio), "growth": torch.as_tensor(growth)}


class AgentPolicy:
    """An agent's decisions on given symbols.

    Parameters
    ----------
    agent
        All seeds of a run.
    config, costs
        What it was trained under.
    symbols
        What it was trained on; where networks are tied to their universe, prices must have these.
    """

    def __init__(self, agent: SAC, config: MarketConfig, costs: CostModel, symbols: tuple[str, ...]) -> None:
        self.agent, self.config, self.costs, self.symbols = agent, config, costs, symbols

    def market(self, prices: Prices) -> Market:
        """The market that encodes observations of these prices.

        Raises
        ------
        DataError
            If the prices hold other symbols.
        """
        if tuple(prices.symbols) != self.symbols:
            raise DataError(_other_symbols(self.symbols, prices))
        return Market(prices, config=self.config, costs=self.costs, seeds=self.agent.seeds, n_envs=1)

    def targets(self, market: Market, day: int, held: Tensor) -> Tensor:
        """Targets of each seed [S, B, N] at the close of a day.

        Parameters
        ----------
        market
            From `market`.
        day
            Position of the session in the market's prices.
        held
            Weights at that close [S, B, N].
        """
        stamp = torch.full_like(held[..., :1], float(day))
        x = market.encode(torch.cat([stamp, held], dim=-1).float())
        return market.targets(self.agent.act(x, deterministic=True), day)

    def rollout(self, prices: Prices, start: DateLike | None = None, end: DateLike | None = None) -> Rollout:
        """Decide on each session from `start` to `end`, beginning in cash.

        Prices before `start` are history; later ones than `end` are not looked at.
        """
        known = prices.between(None, end)
        market = self.market(known)
        first = int(known.dates.searchsorted(parse_date(start, "start"))) if start is not None else 0
        decided = self._path(market, first)
        frame = pd.DataFrame(decided[0, :, 1], index=known.dates[first:], columns=list(self.symbols))
        return Rollout(known, self.costs, self.config, frame, decided[:, :, 0])

    def _path(self, market: Market, first: int) -> NDArray[np.float64]:
        """Targets [S, T, 2, N]: each seed on its own holdings, and the ensemble on its own."""
        panel, rates = market.panel, Rates.of(market.costs)
        impact = panel.impact(self.costs)
        count, n = len(panel.dates), len(self.symbols)
        held = torch.zeros(len(self.agent.seeds), 2, n, dtype=torch.float64)
        decided = np.empty((count - first, held.shape[0], 2, n))
        before_fill = held.numpy()
        for day in range(first, count):
            target = self.targets(market, day, held).double().cpu()
            target[:, 1] = target[:, 1].mean(0)
            decided[day - first] = target.numpy()
            fill = day + 1
            if fill == count:
                break
            # Through the fill to its close, where the next decision is taken, and on to the fill after that.
            after = panel.price[min(fill + 1, count - 1)]
            squeeze = None if impact is None else impact[fill]
            executed = target.numpy()
            closing = panel.status.closing[fill]
            if closing.any() or not panel.status.traded[fill].all():
                executed = executed_weights(
                    np.where(closing, 0.0, executed),
                    before_fill,
                    panel.status.traded[fill] | closing,
                    rates.trade,
                    self.config.gross_bound,
                    squeeze,
                )
            session = advance(
                executed,
                before_fill,
                rates,
                None if panel.at_close else ratio(panel.close[fill], panel.price[fill]),
                after / panel.close[fill],
                squeeze,
            )
            held, before_fill = torch.as_tensor(session.close_weights), session.next_held
        return decided.transpose(1, 0, 2, 3)


class RelayPolicy(AgentPolicy):
    """Agents that act one after another on the same account, each from a date on until the next.

    Parameters
    ----------
    policies
        In order of time; they share seeds, settings and symbols.
    starts
        The first date of each. Earlier dates are left to the first agent.
    """

    def __init__(self, policies: Sequence[AgentPolicy], starts: pd.DatetimeIndex) -> None:
        last = policies[-1]
        super().__init__(last.agent, last.config, last.costs, last.symbols)
        self.policies, self.starts = tuple(policies), starts

    def targets(self, market: Market, day: int, held: Tensor) -> Tensor:
        """Targets of the seeds of the agent whose turn it is, [S, B, N]."""
        turn = int(self.starts.searchsorted(market.panel.dates[day], side="right")) - 1
        return self.policies[max(turn, 0)].targets(market, day, held)


class TrainedPolicy:
    """The policy of a finished run, loaded from its newest checkpoint; of a walk-forward run, from those of its folds.

    Examples
    --------
    >>> policy = TrainedPolicy.load("equitrade_home/runs/relaxed-sp500-20")  # doctest: +SKIP
    >>> policy.decide(prices).weights  # doctest: +SKIP
    """

    def __init__(self, path: Path, policy: AgentPolicy, manifest: dict[str, Any]) -> None:
        self.path, self.policy, self.manifest = path, policy, manifest

    @classmethod
    def load(cls, path: str | Path) -> TrainedPolicy:
        """Load a run directory.

        Raises
        ------
        DataError
            If there is no complete run; the message names what is missing.
        """
        from rl_core.checkpoint import load_agent
        from trading_app.experiments.config import load_config

        folder = Path(path)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            raise DataError(f"{folder}: no run there (manifest.json is missing or damaged)") from None
        if manifest.get("folds"):
            return cls(folder, _relay(folder, manifest["folds"]), manifest)
        config = load_config(folder / "config.toml")
        recorded, named = manifest.get("features"), config.market.feature_names
        if recorded is not None and tuple(recorded) != named:
            raise DataError(f"{folder}: was trained on the features {recorded}, not on {list(named)}")
        agent = load_agent(folder)
        symbols = tuple(manifest["data"]["symbols"])
        return cls(folder, AgentPolicy(agent, config.market, config.costs, symbols), manifest)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols it was trained on."""
        return self.policy.symbols

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the ensemble."""
        return self.policy.agent.seeds

    @cached_property
    def history(self) -> int:
        """Sessions of prices that a decision needs."""
        return self.policy.config.history

    def decide(
        self, prices: Prices, as_of: DateLike | None = None, holdings: NDArray[np.float64] | None = None
    ) -> Decision:
        """Decide at one close.

        Parameters
        ----------
        prices
            History up to the decision; later prices are not looked at.
        as_of
            The session; the last one by default.
        holdings
            Weights held at that close [N]; all cash by default.

        Raises
        ------
        DataError
            If symbols differ, `as_of` is no session of the prices, or the history is too short.
        """
        known = prices.between(None, as_of)
        if as_of is not None and known.dates[-1] != parse_date(as_of, "as_of"):
            raise DataError(f"{prices.name}: {parse_date(as_of, 'as_of').date()} is no session")
        if len(known.dates) < self.history:
            raise DataError(
                f"{prices.name}: {len(known.dates)} sessions of prices are too few, this policy needs {self.history}"
            )
        held = np.zeros(len(self.symbols)) if holdings is None else np.asarray(holdings, dtype=np.float64)
        if held.shape != (len(self.symbols),) or not np.isfinite(held).all():
            raise DataError(
                f"holdings: {len(self.symbols)} finite weights are needed, got shape {held.shape}"
            )
        market = self.policy.market(known)
        batch = torch.as_tensor(held).expand(len(self.seeds), 1, -1)
        per_seed = self.policy.targets(market, len(known.dates) - 1, batch)[:, 0].double().cpu().numpy()
        return Decision(known.dates[-1], self.symbols, per_seed.mean(axis=0), per_seed)

    def rollout(self, prices: Prices, start: DateLike | None = None, end: DateLike | None = None) -> Rollout:
        """Decide on each session of a range; see `AgentPolicy.rollout`."""
        return self.policy.rollout(prices, start, end)

    def weights(
        self, prices: Prices, start: DateLike | None = None, end: DateLike | None = None
    ) -> tuple[pd.DataFrame, NDArray[np.float64]]:
        """Targets of the ensemble (date × symbol) and of each seed [S, T, N]."""
        path = self.rollout(prices, start, end)
        return path.ensemble, path.per_seed


def _relay(folder: Path, folds: Sequence[Mapping[str, Sequence[str]]]) -> RelayPolicy:
    """The policies of a walk-forward run's folds, each from the first date that it was kept for."""
    from trading_app.runs.run import fold_path

    paths = [fold_path(folder, number) for number in range(1, len(folds) + 1)]
    for path in paths:
        if not (path / "manifest.json").is_file():
            advice = f"`equitrade walk-forward --resume --name {folder.name}` goes on"
            raise DataError(f"{folder}: {path.name} of {len(folds)} is not trained yet; {advice}")
    starts = pd.DatetimeIndex([fold["test"][0] for fold in folds])
    return RelayPolicy([TrainedPolicy.load(path).policy for path in paths], starts)


def _other_symbols(symbols: tuple[str, ...], prices: Prices) -> str:
    missing = [s for s in symbols if s not in prices.symbols]
    extra = [s for s in prices.symbols if s not in symbols]
    what = []
    if missing:
        what.append(f"lacks {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}")
    if extra:
        what.append(f"has {', '.join(extra[:5])}{' …' if len(extra) > 5 else ''} besides")
    if not what:
        what.append("has them in another order")
    return f"{prices.name}: the policy was trained on {len(symbols)} other symbols; this data {' and '.join(what)}"
