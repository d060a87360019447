from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance as energy_distance_1d
from scipy.stats import wasserstein_distance

from rl_core.errors import ConfigError
from rl_core.symmetry import Element, Symmetry, cyclic, dihedral, sign, standard
from rl_core.symmetry.measure import (
    critic_errors,
    elements,
    energy_distance,
    environment_gaps,
    inverse,
    paired_gaps,
    policy_errors,
    relaxation,
    sampled_gaps,
    wasserstein_of_samples,
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def portfolio(rows=5):
    mirror = cyclic(2)
    return Symmetry(mirror, sign(mirror) + sign(mirror), sign(mirror), rows=rows)


def test_equivariant_policy_has_no_error_and_a_broken_one_the_error_put_in():
    symmetry = portfolio()
    state = torch.randn(3, 40, 5, 2, generator=torch.Generator().manual_seed(0))
    drift = torch.tensor([0.0, 0.1, 0.5])[:, None, None]

    def policy(x):
        return 0.3 * x[..., 0] + 0.2 * x.mean(dim=-2)[..., 1:] + drift

    errors = policy_errors(policy, symmetry, state, torch.Generator().manual_seed(1))
    assert set(errors) == {"r", "exchange"}
    # μ(−s) + μ(s) = 2 drift in each of five entries.
    expected = 2 * drift.flatten() * 5**0.5
    torch.testing.assert_close(errors["r"].mean, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(errors["r"].maximum, expected, atol=1e-6, rtol=1e-5)
    assert errors["exchange"].maximum.max() < 1e-6
    assert (errors["r"].scale > 0).all()


def test_policy_that_tells_assets_apart_fails_the_exchange_alone():
    symmetry = portfolio()
    state = torch.randn(1, 40, 5, 2)
    errors = policy_errors(lambda x: torch.arange(1.0, 6.0) * x[..., 0], symmetry, state)
    assert errors["r"].maximum.item() < 1e-6
    assert errors["exchange"].mean.item() > 0.5


def test_critic_error_keeps_seeds_and_ensemble_apart():
    symmetry = Symmetry(dihedral(4), standard(dihedral(4)), standard(dihedral(4)))
    state, action = torch.randn(2, 30, 2), torch.randn(2, 30, 2)
    slope = torch.tensor([[0.0, 0.1], [0.2, 0.3]])[..., None]

    def critic(s, a):
        return (s * a).sum(-1)[:, None] + slope * s[..., 0][:, None]

    errors = critic_errors(critic, symmetry, state, action)
    assert len(errors) == 7
    assert errors["r"].mean.shape == (2, 2)
    assert errors["r2"].mean[0, 0] < 1e-6
    expected = (2 * slope * state[..., 0][:, None]).abs()
    torch.testing.assert_close(errors["r2"].maximum, expected.amax(-1), atol=1e-5, rtol=1e-5)


def test_inverse_undoes_each_samples_element():
    symmetry = portfolio()
    g = symmetry.random((50,), torch.Generator().manual_seed(0))
    state, action = torch.randn(50, 5, 2), torch.randn(50, 5)
    back = inverse(symmetry, g)
    moved = symmetry.transform_observation(back, symmetry.transform_observation(g, state))
    torch.testing.assert_close(moved, state)
    torch.testing.assert_close(symmetry.transform_action(back, symmetry.transform_action(g, action)), action)


def test_relaxation_is_zero_for_equal_gains_and_names_the_layer_that_broke():
    equal = torch.ones(2, 3, 4) * torch.tensor([1.0, 2.0, 0.5])[None, :, None]
    moved = equal.clone()
    moved[1, 0, 0] = 1.4
    found = relaxation({"first": equal, "second": moved})
    assert found["first"].tolist() == [0.0, 0.0]
    assert found["second"][0] == 0
    assert found["second"][1].item() == pytest.approx(0.3 / moved[1].mean().item())


def test_relaxation_of_rows_and_of_the_group_are_told_apart():
    rows = torch.arange(1.0, 4.0)[None, None, :, None].expand(1, 1, 3, 2)
    group = torch.tensor([1.0, 3.0]).expand(1, 1, 3, 2)
    gains = {"rows": rows, "group": group, "vector": torch.ones(1, 1, 2)}
    over_rows, over_group = relaxation(gains, "rows"), relaxation(gains, "group")
    assert set(over_rows) == {"rows", "group"}
    assert over_rows["rows"].item() == pytest.approx(0.5)
    assert over_rows["group"].item() == 0
    assert over_group["rows"].item() == 0
    assert over_group["group"].item() == pytest.approx(0.5)


def spring(tilt=0.0, noise=0.0, seed=0):
    """A mass on a spring, symmetric under (x, v, a) → −(x, v, a) unless tilted."""
    draw = torch.Generator().manual_seed(seed)

    def simulate(state, action):
        shock = noise * torch.randn(len(state), generator=draw)
        speed = state[:, 1] + 0.1 * (action[:, 0] - state[:, 0] + tilt) + shock
        return -(state[:, 0] ** 2) + tilt * state[:, 0], torch.stack(
            [state[:, 0] + 0.1 * speed, speed], dim=1
        )

    mirror = cyclic(2)
    return simulate, Symmetry(mirror, sign(mirror) + sign(mirror), sign(mirror))


def test_paired_transitions_show_how_far_a_simulator_is_broken(generator):
    draw = torch.Generator().manual_seed(0)
    state, action = torch.randn(500, 2, generator=draw), torch.randn(500, 1, generator=draw)
    element = Element(torch.ones(500, dtype=torch.long))
    simulate, symmetry = spring()
    whole = environment_gaps(simulate, symmetry, state, action, element, generator=generator)
    assert whole.largest_reward < 1e-6
    assert whole.largest_transition < 1e-6

    simulate, symmetry = spring(tilt=0.5)
    broken = environment_gaps(simulate, symmetry, state, action, element, generator=generator)
    # Speeds differ by 2 · 0.1 · tilt and places by a tenth of that; rewards by 2 · tilt · x.
    assert broken.transition.estimate == pytest.approx(0.1 * (1 + 0.01) ** 0.5, rel=1e-4)
    assert broken.reward.estimate == pytest.approx(state[:, 0].abs().mean().item(), rel=1e-4)
    assert broken.reward.low < broken.reward.estimate < broken.reward.high < broken.largest_reward


@pytest.mark.parametrize("metric", ["energy", "wasserstein"])
def test_draws_of_a_stochastic_simulator_show_only_what_is_broken(metric, generator):
    draw = torch.Generator().manual_seed(0)
    state, action = torch.randn(60, 2, generator=draw), torch.randn(60, 1, generator=draw)
    element = Element(torch.ones(60, dtype=torch.long))
    gaps = {}
    for tilt in (0.0, 2.0):
        simulate, symmetry = spring(tilt, noise=0.3)
        gaps[tilt] = environment_gaps(
            simulate, symmetry, state, action, element, generator=generator, draws=40, metric=metric
        ).transition
    assert gaps[0.0].low <= 0.0 <= gaps[0.0].high
    assert gaps[2.0].low > 0.1


def test_distances_between_samples_agree_with_scipy(generator):
    x, y = generator.normal(size=(200, 1)), generator.normal(0.5, 1.5, size=(200, 1))
    expected = wasserstein_distance(x[:, 0], y[:, 0])
    assert wasserstein_of_samples(x, y) == pytest.approx(expected)
    # scipy's distance is the square root, and counts each draw against itself.
    assert energy_distance(x, y) == pytest.approx(energy_distance_1d(x[:, 0], y[:, 0]) ** 2, abs=0.02)


def test_energy_distance_is_unbiased_where_laws_agree(generator):
    values = [energy_distance(*generator.normal(size=(2, 20, 3))) for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 300**0.5


@pytest.mark.parametrize("metric", ["energy", "wasserstein"])
def test_sampled_and_paired_gaps_agree_on_certain_outcomes(metric, generator):
    states, back = generator.normal(size=(2, 30, 1, 2))
    reward, moved = generator.normal(size=(2, 30, 1))
    paired = paired_gaps(reward[:, 0], moved[:, 0], states[:, 0], back[:, 0], generator=generator)
    repeat = [np.repeat(v, 4, axis=1) for v in (reward, moved, states, back)]
    sampled = sampled_gaps(*repeat, generator=generator, metric=metric)
    # Between two points the energy distance is twice the distance.
    factor = {"energy": 2, "wasserstein": 1}[metric]
    assert sampled.transition.estimate == pytest.approx(factor * paired.transition.estimate)
    assert sampled.largest_transition == pytest.approx(factor * paired.largest_transition)
    assert sampled.reward.estimate == pytest.approx(paired.reward.estimate)
    assert sampled.largest_reward == pytest.approx(paired.largest_reward)


def shifted_gaps(shift, generator, dimensions=1, pairs=30, draws=40):
    """Gaps of noisy systems whose rewards and next states differ by a shift, with noise of size 1."""
    rewards = generator.normal(size=(2, pairs, draws))
    states = generator.normal(size=(2, pairs, draws, dimensions))
    return sampled_gaps(
        rewards[0],
        rewards[1] + shift,
        states[0],
        states[1] + shift * np.eye(dimensions)[0],
        generator=generator,
    )


@pytest.mark.parametrize("shift", [0.5, 2.0, 10.0])
def test_wasserstein_gap_in_one_dimension_is_the_true_distance(shift, generator):
    gaps = shifted_gaps(shift, generator, pairs=100)
    assert gaps.transition.estimate == pytest.approx(shift, abs=0.15)
    assert gaps.reward.estimate == pytest.approx(shift, abs=0.1)


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("shift", [0.5, 2.0, 10.0])
def test_intervals_of_gaps_cover_the_truth(shift, dimensions, generator):
    repeats = [shifted_gaps(shift, generator, dimensions, pairs=20, draws=20) for _ in range(40)]
    for name in ("reward", "transition"):
        covered = [getattr(g, name).low <= shift <= getattr(g, name).high for g in repeats]
        assert np.mean(covered) >= 0.85, name


@pytest.mark.parametrize("dimensions", [1, 3])
def test_equal_noisy_laws_have_no_gap(dimensions, generator):
    repeats = [shifted_gaps(0.0, generator, dimensions, pairs=20, draws=20) for _ in range(40)]
    for name in ("reward", "transition"):
        assert abs(np.mean([getattr(g, name).estimate for g in repeats])) < 0.03
        false = [getattr(g, name).low > 0 for g in repeats]
        assert np.mean(false) <= 0.05, name
        assert abs(np.mean([getattr(g, f"largest_{name}") for g in repeats])) < 0.3


def test_single_draw_of_a_stochastic_simulator_is_refused(generator):
    with pytest.raises(ConfigError, match="at least 2 draws"):
        sampled_gaps(np.zeros((3, 1)), np.zeros((3, 1)), *np.zeros((2, 3, 1, 2)), generator=generator)


def test_elements_leave_out_the_identity():
    assert set(elements(portfolio(rows=1), 3)) == {"r"}
    assert set(elements(Symmetry.none(3, 2), 3)) == set()
