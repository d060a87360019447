from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are

from rl_core.env import BatchedEnv
from rl_core.errors import ConfigError
from trading_app.synthetic.planted import PlantedMarket
from trading_app.synthetic.planted_problem import PlantedConfig, optimum
from trading_app.synthetic.planted_score import PlantedScore

SYMMETRIC = PlantedConfig()
BROKEN = SYMMETRIC.broken(exchange=1.0, mirror=1.0)
CONFIGS = [pytest.param(SYMMETRIC, id="symmetric"), pytest.param(BROKEN, id="broken")]


def policy_of(feedback, config):
    return lambda observation: feedback(observation) / config.max_position


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_feedback_equals_the_riccati_solution_of_scipy(config, discount):
    feedback = optimum(config, discount)
    beta, cost, drift = config.coefficients()
    for i in range(config.assets):
        # State (f, previous x, 1), control x; costs are negated rewards.
        a = np.diag([config.persistence, 0.0, 1.0])
        b = np.array([[0.0], [1.0], [0.0]])
        q = np.diag([0.0, cost[i] / 2, 0.0])
        r = np.array([[(config.risk_aversion + cost[i]) / 2]])
        s = np.array([[-beta[i] / 2], [-cost[i] / 2], [-drift[i] / 2]])
        root = np.sqrt(discount)
        value = solve_discrete_are(root * a, root * b, q, r, s=s)
        gain = np.linalg.solve(r + discount * b.T @ value @ b, discount * b.T @ value @ a + s.T)[0]
        found = [feedback.signal[i], feedback.position[i], feedback.constant[i]]
        np.testing.assert_allclose(found, -gain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
def test_undiscounted_optimum_is_the_limit_of_discounted_ones(config):
    near, best = optimum(config, 1 - 1e-9), optimum(config)
    np.testing.assert_allclose(near.signal, best.signal, rtol=1e-6)
    np.testing.assert_allclose(near.constant, best.constant, rtol=1e-6)
    # A discount of 0.99 in training costs nothing that could be seen in a score.
    assert 0.9999 < optimum(config, 0.99).reward / best.reward <= 1


@pytest.mark.parametrize("config", CONFIGS)
def test_optimal_reward_is_earned_in_the_market(config):
    market = PlantedMarket(replace(config, episode_length=10_000), seeds=(1,), n_envs=4096)
    best = optimum(config)
    observation, rewards = market.reset(), []
    for step in range(260):
        observation, reward, *_ = market.step(best(observation) / config.max_position)
        if step >= 60:
            rewards.append(reward)
    average = torch.stack(rewards).mean(dim=0)[0]  # [n_envs], nearly independent
    error = average.std() / len(average) ** 0.5
    assert abs(average.mean() - best.reward) < 4 * error
    assert error < 0.02 * best.reward


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_beats_the_optimum(config):
    score, best = PlantedScore(config, episodes=256), optimum(config)
    generator = np.random.default_rng(0)
    _, top = score.rollout(policy_of(best, config))
    for name in ("signal", "position", "constant"):
        for size in (0.02, -0.02, 0.1, -0.1):
            direction = generator.uniform(0.5, 1.0, config.assets)
            moved = replace(best, **{name: getattr(best, name) + size * direction})
            _, reward = score.rollout(policy_of(moved, config))
            assert reward < top
            assert score.share(policy_of(moved, config)) < 1
    # Nor does a policy that bends the feedback.
    bent = lambda o: torch.tanh(policy_of(best, config)(o) * 1.2)  # noqa: E731
    assert score.rollout(bent)[1] < top
    assert score.share(policy_of(best, config)).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_zero_policy_scores_zero(config):
    score = PlantedScore(config, episodes=2048, periods=200)
    zero = score.share(lambda o: torch.zeros_like(o[..., 0]))
    assert zero.item() == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("config", CONFIGS)
def test_shortfall_equals_the_difference_of_rewards_on_common_noise(config):
    score, best = PlantedScore(config, episodes=512, periods=400), optimum(config)
    worse = replace(best, signal=0.5 * best.signal, position=best.position + 0.1)
    shortfall, reward = score.rollout(policy_of(worse, config))
    _, top = score.rollout(policy_of(best, config))
    assert shortfall.item() == pytest.approx((top - reward).item(), rel=0.05)


def test_share_agrees_with_the_exact_average_reward():
    score, best = PlantedScore(BROKEN, episodes=2048, periods=200), optimum(BROKEN)
    from trading_app.synthetic.planted_problem import average_reward

    worse = replace(best, signal=0.7 * best.signal, constant=np.zeros(8))
    exact = average_reward(BROKEN, worse) / best.reward
    assert score.share(policy_of(worse, BROKEN)).item() == pytest.approx(exact, abs=0.01)


def test_scores_of_several_seeds_are_those_of_each_alone():
    score = PlantedScore(BROKEN, episodes=16, periods=20)
    gains = torch.tensor([0.1, 0.5, 1.0])[:, None, None]
    together = score.share(lambda o: gains * o[..., 0], seeds=3)
    alone = [score.share(lambda o, g=g: g * o[..., 0]) for g in gains]
    torch.testing.assert_close(together, torch.cat(alone))


def test_noise_on_observations_lowers_the_share_more_as_it_grows():
    score, best = PlantedScore(SYMMETRIC), optimum(SYMMETRIC)
    policy = policy_of(best, SYMMETRIC)
    shares = [score.share(policy, observation_noise=s).item() for s in (0.0, 0.1, 0.3, 1.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.9999
    assert shares[-1] < 0.9


def test_market_is_a_batched_environment_with_its_symmetry():
    market = PlantedMarket(seeds=(3, 4), n_envs=5)
    assert isinstance(market, BatchedEnv)
    observation = market.reset()
    assert observation.shape == (2, 5, 8, 2)
    assert market.symmetry.rows == 8
    torch.testing.assert_close(market.symmetry.transform_observation(1, observation), -observation)


def transformed_rewards(config, transform):
    """Rewards of random positions in a market, and in the transformed state with the transformed action."""
    config = replace(config, return_noise=0.0)
    market, other = (PlantedMarket(config, seeds=(0,), n_envs=64) for _ in range(2))
    market.reset()
    market.step(torch.rand(1, 64, 8) * 2 - 1)
    state = market.state_dict()
    element = transform(market.symmetry)
    observation = torch.stack([state["signal"], state["position"]], dim=-1)
    moved = market.symmetry.transform_observation(element, observation)
    other.load_state_dict({**state, "signal": moved[..., 0], "position": moved[..., 1]})
    action = torch.rand(1, 64, 8) * 2 - 1
    return market.step(action)[1], other.step(market.symmetry.transform_action(element, action))[1]


def mirror(symmetry):
    return 1


def exchange(symmetry):
    permutation = torch.arange(8).roll(1)
    element = symmetry.element(torch.zeros(1, 64, symmetry.random_size))
    return replace(element, permutation=permutation.expand(1, 64, 8))


@pytest.mark.parametrize("transform", [mirror, exchange])
def test_symmetric_market_rewards_transformed_actions_alike(transform):
    torch.manual_seed(0)
    torch.testing.assert_close(*transformed_rewards(SYMMETRIC, transform))


@pytest.mark.parametrize(
    ("breaking", "transform", "breaks"),
    [
        ({"mirror": 1.0}, mirror, True),
        ({"mirror": 1.0}, exchange, False),
        ({"exchange": 1.0}, mirror, False),
        ({"exchange": 1.0}, exchange, True),
    ],
)
def test_each_breaking_breaks_its_own_symmetry_alone(breaking, transform, breaks):
    torch.manual_seed(0)
    before, after = transformed_rewards(SYMMETRIC.broken(**breaking), transform)
    assert ((before - after).abs().max() > 0.1) == breaks


def test_broken_coefficients_have_the_stated_spreads():
    beta, cost, drift = BROKEN.coefficients()
    np.testing.assert_allclose([beta.min(), beta.max()], [0.075, 0.525])
    np.testing.assert_allclose([cost.min(), cost.max()], [1.1, 2.9])
    np.testing.assert_allclose([drift.min(), drift.max()], [0.0, 0.15], atol=1e-12)
    np.testing.assert_allclose([beta.mean(), cost.mean()], [0.3, 2.0])


def test_reward_gap_of_the_mirror_is_attained_and_never_passed():
    config = SYMMETRIC.broken(mirror=0.6)
    gap = config.reward_gaps()["mirror"]
    torch.manual_seed(1)
    before, after = transformed_rewards(config, mirror)
    assert (before - after).abs().max() <= gap
    _, _, drift = config.coefficients()
    assert gap == pytest.approx(2 * 3 * drift.sum())


def test_seed_alone_meets_the_same_market_as_in_a_batch():
    batch, alone = PlantedMarket(BROKEN, seeds=(5, 9), n_envs=3), PlantedMarket(BROKEN, seeds=(9,), n_envs=3)
    torch.testing.assert_close(batch.reset()[1:], alone.reset())
    action = torch.full((2, 3, 8), 0.3)
    for _ in range(5):
        both, one = batch.step(action), alone.step(action[:1])
        for x, y in zip(both, one, strict=True):
            assert torch.equal(x[1:], y)


def test_market_resumes_bit_for_bit_across_an_episode_end():
    config = replace(BROKEN, episode_length=7)
    market = PlantedMarket(config, seeds=(0, 1), n_envs=2)
    market.reset()
    action = torch.full((2, 2, 8), 0.1)
    for _ in range(5):
        market.step(action)
    resumed = PlantedMarket(config, seeds=(0, 1), n_envs=2)
    resumed.load_state_dict(market.state_dict())
    for k in range(6):
        one, two = market.step(action), resumed.step(action)
        assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))
        # The second period from here is the seventh of the episode.
        assert one.truncated.all().item() == (k == 1)
        assert not one.terminated.any()
        if k == 1:
            assert (one.observation[..., 1] == 0).all()
            assert torch.allclose(one.final_observation[..., 1], torch.tensor(0.3))


def test_signals_keep_their_stationary_law():
    market = PlantedMarket(seeds=(0,), n_envs=2000)
    first = market.reset()[..., 0]
    for _ in range(10):
        observation = market.step(torch.zeros(1, 2000, 8))[0]
    last = observation[..., 0]
    assert last.std().item() == pytest.approx(1.0, abs=0.03)
    assert (first * last).mean().item() == pytest.approx(0.9**10, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mirror_breaking": 1.5}, "mirror_breaking is 1.5"),
        ({"persistence": 1.0}, "persistence is 1.0"),
        ({"max_position": 0.5}, "max_position is 0.5"),
        ({"risk_aversion": 0.0}, "risk_aversion"),
        ({"assets": 0}, "at least one asset"),
    ],
)
def test_impossible_markets_are_refused_by_name(settings, message):
    with pytest.raises(ConfigError, match=message):
        PlantedConfig(**settings)
