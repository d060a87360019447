"""Action repeat: sums, ends within a decision, and resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl_core import ActionRepeat, ConfigError, SACConfig, train
from rl_core.env import BatchedEnv, Step
from rl_core.symmetry import Symmetry, cyclic, sign


class Counter:
    """Counts steps of two episodes a seed, of which the second is longer; the reward is the count."""

    symmetry = Symmetry(cyclic(2), sign(cyclic(2)), sign(cyclic(2)))
    observation_shape, action_size, n_envs, device = (1,), 1, 2, torch.device("cpu")

    def __init__(self, lengths: tuple[int, int] = (3, 100), terminal: bool = True) -> None:
        self.seeds = (0,)
        self.lengths, self.terminal = torch.tensor([lengths]), terminal
        self.count = torch.zeros(1, 2)

    def reset(self) -> Tensor:
        self.count = torch.zeros(1, 2)
        return self.count[..., None]

    def step(self, action: Tensor, /) -> Step:
        after = self.count + 1
        over = after >= self.lengths
        self.count = torch.where(over, 0.0, after)
        never = torch.zeros_like(over)
        ends = (over, never) if self.terminal else (never, over)
        return Step(self.count[..., None], after.clone(), *ends, after[..., None])

    def encode(self, observation: Tensor, /) -> Tensor:
        return observation

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Tensor], /) -> None:
        self.count = state["count"]


@pytest.mark.parametrize("terminal", [True, False])
def test_rewards_are_summed_up_to_an_end_within_a_decision(terminal: bool) -> None:
    env = ActionRepeat(Counter(terminal=terminal), 2)
    assert isinstance(env, BatchedEnv)
    env.reset()
    action = torch.zeros(1, 2, 1)
    first = env.step(action)
    assert first.reward.tolist() == [[3.0, 3.0]]
    assert not (first.terminated | first.truncated).any()
    second = env.step(action)
    # The first episode ends at its third step; the repeat that is left belongs to no one.
    assert second.reward.tolist() == [[3.0, 7.0]]
    assert second.final_observation.flatten().tolist() == [3.0, 4.0]
    assert second.observation.flatten().tolist() == [1.0, 4.0]
    ended = second.terminated if terminal else second.truncated
    other = second.truncated if terminal else second.terminated
    assert ended.tolist() == [[True, False]]
    assert not other.any()


def test_training_repeats_and_resumes_with_the_same_repeat_alone(tmp_path: Path) -> None:
    config = SACConfig(width=8, batch_size=4, capacity=64, learning_starts=4, cuda_graph=False)
    options = {"seeds": (0,), "directory": tmp_path, "checkpoint_every": 3, "log_every": 3}
    env = Counter((100, 100))
    train(env, config, steps=6, action_repeat=4, **options)  # type: ignore[arg-type]
    assert env.count.tolist() == [[24.0, 24.0]]
    with pytest.raises(ConfigError, match="repeats actions 4 times, this training 2 times"):
        train(Counter(), config, steps=9, action_repeat=2, resume=True, **options)  # type: ignore[arg-type]
    again = Counter((100, 100))
    train(again, config, steps=9, action_repeat=4, resume=True, **options)  # type: ignore[arg-type]
    assert again.count.tolist() == [[36.0, 36.0]]


def test_no_repeat_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="action_repeat is 0"):
        ActionRepeat(Counter(), 0)
