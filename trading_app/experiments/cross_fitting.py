"""Cross-fitting: sizes and speeds of a run's ensemble, tried on dates that its seeds did not learn from.

Axes: T sessions, N assets, P settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from data.splits import Split
from trading_app.backtesting.policies import AgentPolicy
from trading_app.backtesting.scheduled_rules import run_accounts
from trading_app.evaluation.sizing import SETTINGS, Sizing, best_sizing, sizes_by_asset
from trading_app.market.decisions import DayRows, Decision, decision_of

if TYPE_CHECKING:
    from trading_app.market.env import Market

__all__ = ["choose_sizing"]

Floats = npt.NDArray[np.float64]

LONGEST = 1260
"""Sessions of a half of the training dates that are traded, its last ones."""


def choose_sizing(policy: AgentPolicy, training: Market, split: Split, embargo: int = 0) -> Sizing | None:
    """Return size and speed for the ensemble of a run's seeds; None without dates to choose on.

    Parameters
    ----------
    policy
        The seeds, at their own size and speed.
    training
        The market that they learned from.
    split
        The run's dates: validation dates are new to all seeds, and after cross-fitting each half of the training
        dates is new to the seeds of the other half.
    embargo
        Sessions left out next to the other half.
    """
    parts = [_Accounts(policy, training, *part) for part in _new_dates(policy, training, split, embargo)]
    if not parts:
        return None
    same = np.ones(len(policy.symbols))
    alike = best_sizing(np.concatenate([part.rewards(same) for part in parts]))
    if policy.agent.kind.exact or len(parts) < 2:
        return alike
    # The sizes of assets that trade a part of the dates come from the other parts.
    paths = [part.aims_and_returns() for part in parts]
    own = best_sizing(
        np.concatenate([part.rewards(_sizes(paths[:k] + paths[k + 1 :])) for k, part in enumerate(parts)])
    )
    if own.gain <= alike.gain:
        return alike
    return replace(own, by_asset=tuple(_sizes(paths).tolist()))


def _new_dates(
    policy: AgentPolicy, training: Market, split: Split, embargo: int
) -> list[tuple[pd.Timestamp, pd.Timestamp, list[int]]]:
    """Return ranges of dates, each with the places of the seeds to which they are new."""
    dates, parts = training.prices.dates, []
    if training.cross_fit:
        for odd in (0, 1):
            first, last = training.learning_days(odd)
            first, last = (first + embargo, last) if odd else (first, last - embargo)
            others = [place for place, seed in enumerate(policy.seeds) if seed % 2 != odd]
            first = max(first, last - LONGEST + 1)
            if first < last:
                parts.append((dates[first], dates[last], others))
    if split.validation is not None:
        start, end = map(pd.Timestamp, split.validation)
        parts.append((start, end, list(range(len(policy.seeds)))))
    return parts


class _Path(NamedTuple):
    """Mean actions of the seeds [T, N], and what the assets returned until the next fill [T, N]."""

    aims: Floats
    returns: Floats


class _Accounts:
    """Accounts that follow the mean of some seeds over a range of dates."""

    def __init__(
        self,
        policy: AgentPolicy,
        training: Market,
        start: pd.Timestamp,
        end: pd.Timestamp,
        members: Sequence[int],
    ) -> None:
        known = training.prices.between(None, end)
        self.policy, self.members = policy, list(members)
        self.first = int(known.dates.searchsorted(start))
        self.market = policy.market(known, self.first, dtype=torch.float64)

    def rewards(self, by_asset: Floats) -> Floats:
        """Return the rewards [T, P] of one account a setting, with these relative sizes of assets [N]."""
        sizes, speeds = (torch.tensor(values)[:, None] for values in zip(*SETTINGS, strict=True))
        sizes = sizes * torch.from_numpy(by_asset)

        def decide(day: int, held: Floats, rows: DayRows) -> Decision:
            if not _decides(rows, held):
                return decision_of(held, held, rows, self.policy.config)
            weights = torch.from_numpy(held)
            paced = self.market.paced(self._actions(day, weights), day, weights, sizes, speeds)
            return self._decision(paced, day, weights, rows)

        return run_accounts(self.market, self.first, len(SETTINGS), decide)[1][:-2]

    def aims_and_returns(self) -> _Path:
        """Return what an account at the seeds' own size and speed aims at, and what followed."""
        aims = []

        def decide(day: int, held: Floats, rows: DayRows) -> Decision:
            weights = torch.from_numpy(held)
            actions = self._actions(day, weights)
            aims.append(actions.mean(0)[0].numpy())
            return self._decision(actions, day, weights, rows)

        run_accounts(self.market, self.first, 1, decide)
        found, returns = np.stack(aims)[:-2], self.market.fill_returns()[self.first : -2]
        if not self.market.config.active_net:
            # Only differences between assets count.
            known = np.where(np.isfinite(returns), 1.0, np.nan)
            found = found - np.nanmean(found * known, axis=1, keepdims=True)
            returns = returns - np.nanmean(returns, axis=1, keepdims=True)
        return _Path(found, returns)

    def _actions(self, day: int, held: torch.Tensor) -> torch.Tensor:
        """Actions of the seeds for accounts that hold these weights [P, N], [seeds, P, N]."""
        every = held.expand(len(self.policy.seeds), -1, -1)
        return self.policy.actions(self.market, day, every)[self.members].double()

    def _decision(self, actions: torch.Tensor, day: int, held: torch.Tensor, rows: DayRows) -> Decision:
        target = self.market.targets(actions, day, held).mean(0).numpy()
        return decision_of(target, held.numpy(), rows, self.policy.config)


def _decides(rows: DayRows, held: Floats) -> bool:
    """Whether any account decides on this day: on the schedule, or at once in cash."""
    return rows.scheduled is None or bool(rows.scheduled.any()) or not held.any(axis=-1).all()


def _sizes(paths: Sequence[_Path]) -> Floats:
    """Sizes of assets by these paths together [N]."""
    return sizes_by_asset(np.concatenate([p.aims for p in paths]), np.concatenate([p.returns for p in paths]))
