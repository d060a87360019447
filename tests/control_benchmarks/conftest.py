from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the control extra is not installed")


@pytest.fixture(scope="session")
def suite():
    """DeepMind's own environments, the oracle of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dm_control import suite as dm_suite
    return dm_suite


LEVELS = (0.0, 0.1, 0.4)


def made_up_run(
    directory, task, variant, agent, level, *, relaxation=0.1, loss=100.0, seeds=6, frames=100_000
):
    """A run whose returns rise to `level`, whose weights differ by `relaxation` and that noise costs `loss`."""
    random = np.random.default_rng(len(task) * 100 + len(variant) * 10 + len(agent))
    header = {
        "task": task,
        "variant": variant,
        "agent": agent,
        "seeds": list(range(seeds)),
        "settings": {"pixels": False, "action_repeat": 2},
        "learner": {"width": 8, "batch_size": 8},
        "gaps": {
            **{k: {"mean": 0.1, "low": 0.05, "high": 0.2, "largest": 1.0} for k in ("reward", "transition")},
            "change": 1.0,
        },
        "machine": {"device": "cpu", "torch": "0"},
    }
    from control_benchmarks.experiments.results import Writer, file_name

    writer = Writer(directory / file_name(task, variant, agent), header)
    errors = {"policy_error": 0.1, "policy_scale": 1.0, "critic_error": 0.2, "critic_scale": 2.0}
    for seed in range(seeds):
        for step in (1, 2):
            returns = (level * step / 2 + random.normal(0, 10, 2)).tolist()
            line = {"kind": "evaluation", "frames": step * frames // 2, "seed": seed, "returns": returns}
            writer.write([{**line, **errors}])
        for noise in LEVELS:
            returns = [level - loss * noise / 0.4 + random.normal(0, 5)]
            writer.write(
                [{"kind": "noise", "frames": frames, "seed": seed, "level": noise, "returns": returns}]
            )
        if agent == "relaxed":
            for network in ("actor", "critic"):
                value = relaxation + random.normal(0, 0.005)
                line = {
                    "kind": "gains",
                    "frames": frames,
                    "seed": seed,
                    "network": network,
                    "layer": "head.w",
                }
                writer.write([{**line, "relaxation": value, "weights": [1.0, 1.0], "shape": [1, 2]}])
    writer.write([{"kind": "end", "frames": frames}])


def made_up_study(directory, *, variant_exact=400.0, relaxation=0.4, dense=300.0):
    for task in ("cartpole_swingup", "reacher_easy"):
        made_up_run(directory, task, "original", "relaxed", 800, loss=50)
        made_up_run(directory, task, "original", "exact", 800, loss=150)
        made_up_run(directory, task, "original", "dense", dense, loss=250)
        made_up_run(directory, task, "gravity", "relaxed", 700, relaxation=relaxation, loss=50)
        made_up_run(directory, task, "gravity", "exact", variant_exact, loss=150)
        made_up_run(directory, task, "gravity", "dense", dense, loss=250)


@pytest.fixture(scope="session")
def write_run():
    """Write the results of a made-up run."""
    return made_up_run


@pytest.fixture(scope="session")
def write_study():
    """Write a made-up study of two tasks, each with a variant."""
    return made_up_study
