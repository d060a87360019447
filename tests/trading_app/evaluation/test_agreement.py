"""Agreement of seeds: correlation of active weights, its interval, and when an ensemble holds its base."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from equitrade.json_values import json_value
from trading_app.evaluation.agreement import Agreement, seed_agreement
from trading_app.report.verdict import agreement_sentence


def tilts(seeds: int, shared: float, *, days: int = 300, assets: int = 12, seed: int = 0) -> np.ndarray:
    """Active weights [S, T, N] of seeds whose tilts correlate at `shared`."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((days, assets))
    own = rng.standard_normal((seeds, days, assets))
    return 0.01 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)


def test_equal_seeds_agree_and_opposite_ones_disagree() -> None:
    one = tilts(1, 0.0)[0]
    same = seed_agreement(np.stack([one, one, one]))
    assert same.correlation == pytest.approx(1.0)
    assert same.low == pytest.approx(1.0)
    assert seed_agreement(np.stack([one, -one])).correlation == pytest.approx(-1.0)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.7])
def test_the_correlation_of_seeds_is_found_within_its_interval(shared: float) -> None:
    found = seed_agreement(tilts(5, shared), reps=200)
    assert found.correlation == pytest.approx(shared, abs=0.05)
    assert found.low < found.correlation < found.high
    assert found.high - found.low < 0.15


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10.0), seeds=st.integers(2, 5))
def test_it_is_the_mean_of_pairwise_correlations_whatever_order_and_scale(
    seed: int, scale: float, seeds: int
) -> None:
    rng = np.random.default_rng(seed)
    active = tilts(seeds, 0.4, days=25, assets=4, seed=seed)
    active[rng.random(active.shape) < 0.2] = np.nan
    active[:, rng.random(25) < 0.3] = np.nan  # days without orders
    found = seed_agreement(active, reps=20)
    pairs = []
    for i in range(seeds):
        for j in range(i):
            both = np.isfinite(active[i]) & np.isfinite(active[j])
            pairs.append(np.corrcoef(active[i][both], active[j][both])[0, 1])
    assert found.correlation == pytest.approx(np.mean(pairs))
    assert found.sessions <= np.isfinite(active).any(axis=(0, 2)).sum()
    again = seed_agreement(scale * active[::-1][..., rng.permutation(4)], reps=20)
    assert again.correlation == pytest.approx(found.correlation)


def test_seeds_at_the_base() -> None:
    nothing = np.zeros((3, 50, 4))
    assert seed_agreement(nothing).correlation is None
    # Rounding is no tilt.
    assert seed_agreement(nothing + 1e-17 * tilts(3, 0.0, days=50, assets=4)).correlation is None
    one = nothing.copy()
    one[0] = tilts(1, 0.0, days=50, assets=4)[0]
    assert seed_agreement(one, reps=20).correlation == 0.0


def test_what_is_not_defined() -> None:
    alone = seed_agreement(tilts(1, 0.0))
    assert (alone.correlation, alone.seeds) == (None, 1)
    assert seed_agreement(np.full((3, 40, 4), np.nan)).correlation is None
    short = seed_agreement(tilts(3, 0.5, days=19))
    assert short.correlation is not None
    assert (short.low, short.high) == (None, None)
    with pytest.raises(DataError, match="seeds, sessions, assets"):
        seed_agreement(np.zeros((3, 4)))


def record(correlation: float | None, **changes: Any) -> dict[str, Any]:
    made = Agreement(correlation, None, None, 0.95, 3, 60, needed=0.5, base="equal-weight")
    return dict(json_value(asdict(replace(made, **changes))))


def test_an_ensemble_holds_its_base_only_below_what_it_needs() -> None:
    def holds(correlation: float | None, **changes: Any) -> bool:
        return Agreement.from_record({**record(correlation, **changes), "later": 1}).holds_base

    assert holds(0.49)
    assert holds(-0.2)
    assert not holds(0.5)
    assert not holds(None)
    assert not holds(0.1, needed=0.0)
    assert not holds(0.1, base=None)


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([], ""),
        (
            [record(0.123)],
            "The seeds do not agree (correlation 0.12, needed 0.5), so the agent holds its base, equal weight.",
        ),
        ([record(0.71)], "The seeds agree (correlation 0.71)."),
        ([record(0.12, base=None)], "The seeds do not agree (correlation 0.12, needed 0.5)."),
        ([record(0.12, needed=0.0)], "The seeds do not agree (correlation 0.12)."),
        ([record(None, seeds=1)], "The run has one seed, so that agreement of seeds is not defined."),
        ([record(None)], "No seed has active weights, so that agreement of the seeds is not defined."),
        (
            [record(0.1, base="min-variance"), record(0.6), record(-0.2)],
            "The seeds do not agree in 2 of 3 trainings (correlations 0.10 and \u22120.20, needed 0.5), so the agent "
            "holds its base, minimum variance, there.",
        ),
    ],
)
def test_sentence(records: list[dict[str, Any]], sentence: str) -> None:
    assert agreement_sentence({"agreement": records}) == sentence
