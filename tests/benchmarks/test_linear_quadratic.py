"""The linear-quadratic problem of the SAC benchmarks."""

from __future__ import annotations

import pytest
import torch

from benchmarks.linear_quadratic import Regulator, filled_replay


def test_regulator_is_symmetric_but_for_its_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    env, mirrored = Regulator((3, 4), 5), Regulator((3, 4), 5)
    x, _ = env.reset(), mirrored.reset()
    sign = env.symmetry.transform_observation(torch.tensor(1), torch.ones(1, 1, x.shape[-1]))[0, 0]
    assert set(sign.tolist()) == {-1.0, 1.0}
    mirrored.x = x * sign
    monkeypatch.setattr(Regulator, "_normal", lambda env: torch.zeros(2, 5, 17))
    action = env.noise.uniform("action", 0, (5, env.action_size)) * 2 - 1
    moved, reward = env.step(action)[:2]
    other, same = mirrored.step(-action)[:2]
    torch.testing.assert_close(other, moved * sign)
    torch.testing.assert_close(same, reward)


def test_replay_is_filled_with_equal_numbers_each_time() -> None:
    first, again = filled_replay(2, steps=20), filled_replay(2, steps=20)
    assert len(first) == 20
    assert torch.equal(first.action[:, :20], again.action[:, :20])
    assert not torch.equal(first.action[0, :20], first.action[1, :20])
