"""Distance from the base, and what of it seeds share."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import DataError
from trading_app.evaluation.departure import departure


def tilts(seeds: int, shared: float, seed: int = 0) -> np.ndarray:
    """Active weights [S, T, N] whose shared part is this fraction of the mean square."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((400, 10)), rng.standard_normal((seeds, 400, 10))
    return 0.01 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)


@pytest.mark.parametrize("shared", [0.0, 0.2, 0.8])
@pytest.mark.parametrize("seeds", [2, 5])
def test_the_shared_part_is_found_within_its_interval(shared: float, seeds: int) -> None:
    found = departure(tilts(seeds, shared), reps=200)
    assert found["shared"]["value"] == pytest.approx(shared, abs=0.05)
    assert found["shared"]["low"] <= found["shared"]["value"] <= found["shared"]["high"]


def test_active_share_is_half_the_sum_of_departures() -> None:
    one = np.tile([0.1, -0.1, 0.0], (30, 1))
    found = departure(np.stack([one, one, -one]))
    assert found["seed_active_shares"] == pytest.approx([0.1, 0.1, 0.1])
    assert found["active_share"] == pytest.approx(0.1 / 3)
    assert departure(np.stack([one, -one]))["shared"]["value"] == pytest.approx(-1.0)
    agreed = departure(np.stack([one, one]))
    assert agreed["shared"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0, "unit": "fraction"})


def test_what_is_undefined_is_nan() -> None:
    alone = departure(tilts(1, 0.5))
    assert np.isnan(alone["shared"]["value"])
    assert alone["active_share"] > 0
    still = departure(np.zeros((3, 40, 5)))
    assert still["active_share"] == 0.0
    assert np.isnan(still["shared"]["value"])
    assert np.isnan(departure(tilts(2, 0.5)[:, :10])["shared"]["low"])
    with pytest.raises(DataError, match="give \\[seeds, sessions, assets\\]"):
        departure(np.zeros((3, 4)))
