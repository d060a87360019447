from __future__ import annotations

import warnings

import pytest

pytest.importorskip("mujoco", reason="the control extra is not installed")


@pytest.fixture(scope="session")
def suite():
    """DeepMind's own environments, the oracle of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dm_control import suite as dm_suite
    return dm_suite
