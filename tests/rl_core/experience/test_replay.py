from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rl_core.errors import ConfigError
from rl_core.experience.replay import Replay
from rl_core.random import Noise

S, N, A = 2, 3, 2


def play(
    steps: int, *, p_terminated: float, p_truncated: float, seeds: tuple[int, ...] = (0, 1)
) -> list[tuple]:
    """Made-up steps whose observations are unique numbers: before, action, and the answer."""
    noise = Noise(seeds)
    s = len(seeds)
    base = torch.tensor(seeds, dtype=torch.float32)[:, None, None] * 1e5
    env = torch.arange(N, dtype=torch.float32)[None, :, None] * 1e4
    observation = base + env + torch.zeros(s, N, 1)
    story = []
    for t in range(steps):
        terminated = noise.uniform("terminated", t, (N,)) < p_terminated
        truncated = noise.uniform("truncated", t, (N,)) < p_truncated
        final = base + env + t + 1.0
        done = (terminated | truncated)[..., None]
        following = torch.where(done, final + 0.5, final)
        action = noise.normal("action", t, (N, A))
        reward = noise.normal("reward", t, (N,))
        story.append((observation, action, following, reward, terminated, truncated, final))
        observation = following
    return story


def filled(story: list[tuple], *, capacity: int, n_step: int = 1) -> Replay:
    replay = Replay(story[0][0], A, capacity=capacity, gamma=0.9, n_step=n_step)
    for _, *rest in story:
        replay.add(*rest)
    return replay


def expected(story: list[tuple], t: int, s: int, e: int, n_step: int) -> tuple[float, float, float | None]:
    """Reward, discount and next observation, by the definition."""
    total = 0.0
    for k in range(n_step):
        _, _, _, reward, terminated, truncated, final = story[t + k]
        total += 0.9**k * float(reward[s, e])
        if bool(terminated[s, e]):
            return total, 0.0, None
        if bool(truncated[s, e]) or k == n_step - 1:
            return total, 0.9 ** (k + 1), float(final[s, e, 0])
    raise AssertionError


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.1, 0.2), (0.0, 1.0), (1.0, 1.0), (0.02, 0.6)])
@pytest.mark.parametrize("steps", [7, 40, 250])
def test_samples_are_the_transitions_that_happened(
    n_step: int, rates: tuple[float, float], steps: int
) -> None:
    story = play(steps, p_terminated=rates[0], p_truncated=rates[1])
    replay = filled(story, capacity=40 * N, n_step=n_step)
    batch = replay.sample(Noise((0, 1)).integers("replay", 0, (300,)))
    where = {(s, float(story[t][0][s, e, 0]), e): t for t in range(steps) for s in range(S) for e in range(N)}
    seen = set()
    for s in range(S):
        for b in range(300):
            start = float(batch.observation[s, b, 0])
            e = int((start - 1e5 * s) // 1e4)
            t = where[s, start, e]
            seen.add(t)
            reward, discount, following = expected(story, t, s, e, n_step)
            assert torch.equal(batch.action[s, b], story[t][1][s, e])
            assert float(batch.reward[s, b]) == pytest.approx(reward, abs=1e-5)
            assert float(batch.discount[s, b]) == pytest.approx(discount)
            if following is not None:
                assert float(batch.next_observation[s, b, 0]) == following
    first = max(0, steps - 40)
    assert seen <= set(range(first, steps - n_step + 1))
    if steps <= 40:
        assert len(seen) == steps - n_step + 1


def test_sampling_is_uniform() -> None:
    replay = filled(play(30, p_terminated=0.1, p_truncated=0.1), capacity=1000)
    batch = replay.sample(Noise((0, 1)).integers("replay", 0, (90_000,)))
    _, counts = batch.observation[0, :, 0].unique(return_counts=True)
    assert counts.shape == (90,)
    assert int(counts.min()) > 800
    assert int(counts.max()) < 1200


def test_a_seed_alone_samples_what_it_samples_in_a_batch() -> None:
    both = filled(play(50, p_terminated=0.1, p_truncated=0.2), capacity=60)
    alone = filled(play(50, p_terminated=0.1, p_truncated=0.2, seeds=(1,)), capacity=60)
    a = both.sample(Noise((0, 1)).integers("replay", 3, (64,)))
    b = alone.sample(Noise((1,)).integers("replay", 3, (64,)))
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x[1], y[0])


@pytest.mark.parametrize("steps", [10, 95])
def test_rows_and_counters_rebuild_the_replay(steps: int) -> None:
    story = play(steps + 30, p_terminated=0.05, p_truncated=0.7)
    replay = filled(story[:steps], capacity=20 * N, n_step=2)
    middle = (replay.oldest + replay.steps) // 2
    parts = [(replay.oldest, middle), (middle, replay.steps)]
    saved = [(a, b, replay.rows_between(a, b)) for a, b in parts]
    state = {name: value.clone() for name, value in replay.state_dict().items()}
    copy = Replay(torch.zeros_like(story[0][0]), A, capacity=20 * N, gamma=0.9, n_step=2)
    copy.load_state_dict(state)
    for a, b, arrays in saved:
        copy.load_rows(a, b, arrays)
    for more in range(30):
        numbers = Noise((0, 1)).integers("replay", more, (32,))
        for x, y in zip(replay.sample(numbers), copy.sample(numbers), strict=True):
            assert torch.equal(x, y)
        _, *rest = story[steps + more]
        replay.add(*rest)
        copy.add(*rest)


def test_images_keep_their_dtype() -> None:
    frames = torch.randint(0, 255, (1, 2, 3, 8, 8), dtype=torch.uint8)
    replay = Replay(frames, 1, capacity=10, gamma=0.99)
    false = torch.zeros(1, 2, dtype=torch.bool)
    replay.add(torch.zeros(1, 2, 1), frames + 1, torch.zeros(1, 2), false, false, frames + 1)
    batch = replay.sample(torch.arange(4)[None])
    assert batch.observation.dtype == torch.uint8
    assert batch.observation.shape == (1, 4, 3, 8, 8)
    assert torch.equal(batch.next_observation, batch.observation + 1)


def test_a_replay_that_is_too_short_says_so() -> None:
    story = play(2, p_terminated=0, p_truncated=0)
    with pytest.raises(ConfigError, match="n_step = 3"):
        filled(story, capacity=30, n_step=3).sample(torch.zeros(S, 4, dtype=torch.int64))


def total_bytes(replay: Replay) -> int:
    return sum(v.numel() * v.element_size() for v in vars(replay).values() if isinstance(v, Tensor))


def test_observations_are_stored_once() -> None:
    frames = torch.zeros(1, 1, 1000)
    replay = Replay(frames, 1, capacity=1000, gamma=0.99)
    assert total_bytes(replay) < 1.1 * 1000 * 4000
