"""Gradient updates of a peer's SAC, timed on demand; run by the peers' Python, not by ours.

``python benchmarks/speed/sac_peers.py sb3|sbx THREADS`` answers the line ``parameters`` with their number, and a
line with a number n with the seconds that n updates took.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import gymnasium
import numpy as np

OBSERVATION, ACTION, WIDTH, BATCH, FILLED = 17, 6, 256, 256, 2000


class Nothing(gymnasium.Env):
    """An environment with the right sizes for the peer's networks and replay."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (ACTION,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return zeros."""
        return np.zeros(OBSERVATION, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return zeros."""
        return np.zeros(OBSERVATION, np.float32), 0.0, False, False, {}


def main() -> None:
    """Answer on standard output."""
    which, threads = sys.argv[1], int(sys.argv[2])
    settings: dict[str, Any] = {
        "learning_starts": 0,
        "batch_size": BATCH,
        "policy_kwargs": {"net_arch": [WIDTH, WIDTH]},
    }
    if which == "sb3":
        import torch
        from stable_baselines3 import SAC

        torch.set_num_threads(threads)
        model = SAC("MlpPolicy", Nothing(), device="cpu", **settings)
        parts = [*model.actor.parameters(), *model.critic.parameters()]
        parameters = sum(p.numel() for p in parts)
    else:
        import jax  # type: ignore[import-not-found]
        from sbx import SAC as SBX  # type: ignore[import-not-found]

        model = SBX("MlpPolicy", Nothing(), **settings)
        trees = [model.policy.actor_state.params, model.policy.qf_state.params]
        parameters = sum(int(leaf.size) for leaf in jax.tree_util.tree_leaves(trees))
    model.learn(2)
    generator = np.random.default_rng(0)
    for _ in range(FILLED):
        observations = generator.normal(size=(2, 1, OBSERVATION)).astype(np.float32)
        action = generator.uniform(-1, 1, (1, ACTION)).astype(np.float32)
        model.replay_buffer.add(*observations, action, generator.normal(size=1), np.zeros(1), [{}])

    def take(updates: int) -> None:
        for _ in range(updates):
            model.train(gradient_steps=1, batch_size=BATCH)
        if which == "sbx":
            jax.block_until_ready(model.policy.qf_state.params)

    take(5)
    for line in sys.stdin:
        if line.strip() == "parameters":
            print(parameters, flush=True)
            continue
        begun = time.perf_counter()
        take(int(line))
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
