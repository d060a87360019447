"""Time of the batches of the trading agent: made transitions beside the replay of stored ones, encoding included.

Made transitions need the policy's actions; those of stored ones were chosen when the accounts were stepped. So a whole
step of training is timed, too: with stored transitions it acts, steps the accounts, samples and updates; with made ones
it makes the batch and updates. Before timing, rewards of stored transitions are computed again as made ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.harness import alternate, ratio

if TYPE_CHECKING:
    from rl_core.experience.replay import Batch
    from trading_app.market.env import Market

ASSETS, WINDOW, SEEDS, BATCH, ACCOUNTS = 20, 32, 5, 256, 8
REACH = 1.5
"""Largest time of made transitions, as a multiple of that of stored ones."""

BATCHES, STEPS = "batch", "step of training"


def market(assets: int = ASSETS, sessions: int = 2_500, seeds: int = SEEDS) -> Market:
    """Return the trading agent's market on random prices."""
    import numpy as np
    import pandas as pd

    from data.prices import Prices
    from trading_app.experiments.config import trading_market
    from trading_app.market.env import Market

    generator = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, (sessions, assets)), axis=0))
    dates = pd.bdate_range("2010-01-01", periods=sessions)
    frame = pd.DataFrame(close, dates, [f"A{i}" for i in range(assets)])
    prices = Prices.from_frames("random", close=frame)
    return Market(
        prices, config=replace(trading_market(), window=WINDOW), seeds=range(seeds), n_envs=ACCOUNTS
    )


class Sources:
    """Both sources of batches of B transitions for one agent and market, with so many steps stored."""

    def __init__(self, env: Market, batch: int = BATCH, stored: int = 1_000) -> None:
        from rl_core.experience.replay import Replay
        from rl_core.random import Noise
        from rl_core.sac import SAC
        from trading_app.experiments.config import trading_learner

        settings = trading_learner().replace(batch_size=batch, transitions="made", row_values=False)
        self.env, self.batch = env, batch
        self.agent = SAC(env.symmetry, settings, env.seeds)
        self.noise = Noise(env.seeds, env.device)
        self.observation = env.reset()
        self.replay = Replay(
            self.observation, env.action_size, capacity=settings.capacity, gamma=settings.gamma
        )
        self.draw = 0
        for _ in range(stored):
            self.act()

    def act(self) -> None:
        """Step the accounts with the policy's actions, and store the step."""
        action = self.agent.act(self.env.encode(self.observation))
        observation, reward, terminated, truncated, final = self.env.step(action)
        self.replay.add(action, observation, reward, terminated, truncated, final)
        self.observation = observation

    def sample(self) -> Batch:
        """Return stored transitions, compact."""
        self.draw += 1
        return self.replay.sample(self.noise.integers("replay", self.draw, (self.batch,)))

    def stored(self) -> Batch:
        """Return stored transitions, encoded."""
        found = self.sample()
        return found._replace(
            observation=self.env.encode(found.observation),
            next_observation=self.env.encode(found.next_observation),
        )

    def made(self) -> Batch:
        """Return made transitions, encoded, with one reward."""
        from rl_core.experience.transitions import fit_rewards

        self.draw += 1
        gamma = self.agent.config.gamma
        found = self.env.make_transitions(self.agent.act, self.draw, self.batch, discount=gamma)
        return fit_rewards(found, rows=False)

    def contenders(self) -> dict[tuple[str, str], Callable[[], object]]:
        """Return the work of each contender, by task and name."""

        def stored_step() -> None:
            self.act()
            self.agent.update(self.stored())

        return {
            (BATCHES, "stored"): self.stored,
            (BATCHES, "made"): self.made,
            (STEPS, "stored"): stored_step,
            (STEPS, "made"): lambda: self.agent.update(self.made()),
        }

    def difference(self) -> float:
        """Return the largest difference of rewards between stored transitions and the same ones made."""
        batch, env = self.sample(), self.env
        rules = env.account_rules(env.episode_length)
        day = env.to_array(batch.observation[..., 0].long(), whole=True)
        state = rules.place(day, env.to_array(batch.observation[..., 1:]))
        outcome = rules.step(state, env.to_array(batch.action))
        return float((env.to_tensor(outcome.reward) - batch.reward).abs().max())


def run(repeats: int = 9, sources: Sources | None = None) -> dict[str, Any]:
    """Time both sources alternately, by default those of the trading agent.

    Returns the task, milliseconds of each contender, and ratios of made over stored ones taken round by round.
    """
    sources = Sources(market()) if sources is None else sources
    difference = sources.difference()
    if difference > 1e-3 * sources.env.config.reward_scale:
        raise RuntimeError(f"made and stored rewards differ by {difference:.2e}: not the same task")
    contenders = sources.contenders()
    taken = alternate({" | ".join(key): _timed(work) for key, work in contenders.items()}, repeats)
    seconds = {key: taken[" | ".join(key)] for key in contenders}
    ratios = {task: ratio(seconds[task, "made"], seconds[task, "stored"]) for task in (BATCHES, STEPS)}
    return {
        "seeds": len(sources.env.seeds),
        "batch": sources.batch,
        "assets": sources.env.action_size,
        "largest_difference": difference,
        "milliseconds": [
            {"task": task, "transitions": name, "milliseconds": 1e3 * statistics.median(values)}
            for (task, name), values in seconds.items()
        ],
        "ratios": [{"task": task, "ratio": found, "reach": REACH} for task, found in ratios.items()],
    }


def _timed(work: Callable[[], object]) -> Callable[[], None]:
    """Return the work as a contender, without its result."""

    def take() -> None:
        work()

    return take
