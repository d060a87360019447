"""Actions are scaled to their box, to its ends and never beyond."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box

from rl_core.gymnasium.spaces import ActionBox


def test_scale() -> None:
    box = ActionBox(Box(np.float32([[-2.0], [0.1]]), np.float32([[2.0], [0.7]])), "test")
    ends = box.scale(np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert ends.shape == (3, 2, 1)
    assert ends.dtype == np.float32
    np.testing.assert_array_equal(ends[0], box.space.low)
    np.testing.assert_array_equal(ends[1], box.space.high)
    np.testing.assert_allclose(ends[2], [[0.0], [0.4]], rtol=1e-6)
    assert all(box.space.contains(box.scale(np.float32([a, a]))) for a in (-1.0000001, 0.9999999, 1.0000001))
