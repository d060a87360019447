from __future__ import annotations

import numpy as np
import pytest
import torch

from rl_core.env import BatchedEnv
from rl_core.errors import ConfigError
from trading_app.evaluation.shrinkage import shrink
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_plug_in import plug_in, regress
from trading_app.synthetic.planted_problem import PlantedConfig, optimum
from trading_app.synthetic.planted_score import PlantedScore

BROKEN = PlantedConfig().broken(exchange=1.0, mirror=1.0)


def test_history_is_an_environment_whose_returns_follow_its_signals() -> None:
    env = PlantedHistory(BROKEN, periods=4000, seeds=(3, 4), n_envs=2)
    assert isinstance(env, BatchedEnv)
    assert env.signals.shape == (2, 4001, 8)
    slopes, drifts, *_ = regress(env.signals[1, :-1].double().numpy(), env.returns[1].double().numpy())
    beta, _, drift = BROKEN.coefficients()
    np.testing.assert_allclose(slopes, beta, atol=0.01)
    np.testing.assert_allclose(drifts, drift, atol=0.01)
    again = PlantedHistory(BROKEN, periods=4000, seeds=(4,))
    torch.testing.assert_close(again.signals[0], env.signals[1], rtol=0, atol=0)


def test_steps_walk_along_the_path_and_resume() -> None:
    env = PlantedHistory(BROKEN, periods=300, seeds=(0,), n_envs=3)
    observation = env.reset()
    action = torch.full((1, 3, 8), 0.1)
    for _ in range(201):
        outcome = env.step(action)
        state = env.state_dict()
    assert outcome.observation.shape == observation.shape
    other = PlantedHistory(BROKEN, periods=300, seeds=(0,), n_envs=3)
    other.reset()
    other.load_state_dict(state)
    for a, b in zip(env.step(action), other.step(action), strict=True):
        assert torch.equal(a, b)


def test_a_history_has_at_least_two_periods() -> None:
    with pytest.raises(ConfigError, match="periods is 1"):
        PlantedHistory(periods=1)


def test_shrinkage_keeps_what_differs_and_joins_what_does_not() -> None:
    generator = np.random.default_rng(0)
    variances = np.full(50, 0.01)
    same = 1.0 + 0.1 * generator.standard_normal(50)
    apart = np.linspace(0.0, 10.0, 50) + 0.1 * generator.standard_normal(50)
    assert shrink(same, variances).std() < 0.4 * same.std()
    np.testing.assert_allclose(shrink(apart, variances), apart, atol=0.02)


@pytest.mark.parametrize(
    ("breaking", "low", "high"), [(0.0, 0.97, 1.0), (1.0, 0.92, 0.98)], ids=["intact", "broken"]
)
def test_share_of_the_plug_in_at_the_noise_of_daily_data(breaking: float, low: float, high: float) -> None:
    config = PlantedConfig(return_noise=3.0).broken(exchange=breaking, mirror=breaking)
    env, score = PlantedHistory(config, periods=2500, seeds=range(6)), PlantedScore(config)
    shares = {}
    for shrunk in (True, False):
        found = []
        for signals, returns in zip(env.signals.double().numpy(), env.returns.double().numpy(), strict=True):
            policy = plug_in(config, signals[:-1], returns, shrunk=shrunk)
            found.append(
                float(score.share(lambda o, policy=policy: policy(o) / config.max_position).squeeze())
            )
        shares[shrunk] = np.mean(found)
    assert low < shares[True] < high
    assert shares[False] < shares[True]


def test_local_breaking_on_a_grid_is_the_linear_answer_where_drift_is_everywhere() -> None:
    everywhere = PlantedConfig(mirror_threshold=-10.0).broken(exchange=1.0, mirror=1.0)
    found, exact = optimum(everywhere), optimum(BROKEN)
    assert found.reward == pytest.approx(exact.reward, rel=1e-5)
    np.testing.assert_allclose(found.moments(), exact.moments(), atol=1e-6)
    observation = torch.randn(1, 50, 8, 2)
    torch.testing.assert_close(found(observation), exact(observation), atol=1e-5, rtol=1e-5)


def test_the_best_policy_of_local_breaking_earns_its_reward_and_nothing_near_beats_it() -> None:
    config = PlantedConfig(mirror_threshold=1.0).broken(exchange=1.0, mirror=1.0)
    best, score = optimum(config), PlantedScore(config, episodes=1024, periods=200)
    unit = config.max_position
    shortfall, reward = score.rollout(lambda o: best(o) / unit)
    assert shortfall.item() == pytest.approx(0.0, abs=1e-6)
    assert reward.item() == pytest.approx(best.reward, rel=0.03)
    for size in (-0.05, 0.05):
        assert score.rollout(lambda o, size=size: (best(o) + size) / unit)[1] < reward
        bent = lambda o, size=size: (best(o) + size * (o[..., 0] > 1.0)) / unit  # noqa: E731
        assert score.rollout(bent)[1] < reward
    assert config.reward_gaps()["mirror"] == pytest.approx(0.5 * BROKEN.reward_gaps()["mirror"])


def test_part_of_the_assets_can_deviate() -> None:
    config = PlantedConfig(exchange_share=0.25).broken(exchange=1.0)
    beta, cost, _ = config.coefficients()
    assert (beta != config.predictability).sum() == 2
    assert (cost != config.trading_cost).sum() <= 2
    assert PlantedConfig(assets=8).broken(exchange=1.0).coefficients()[0].std() > 0.1
