from __future__ import annotations

import pytest

from control_benchmarks import ControlError, load_task, state_symmetry
from control_benchmarks.experiments.run_suite import learner_changes
from control_benchmarks.experiments.runner import RunOptions, learner_config
from control_benchmarks.experiments.suites import Job, Settings, agent_names, load_suite, suite_names
from rl_core.networks import Shape, matching_width


@pytest.mark.parametrize("name", suite_names())
@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_every_suite_is_a_table_of_known_names(name, size):
    suite = load_suite(name, size=size)
    assert len({job.name for job in suite.jobs}) == len(suite.jobs) or name == "paper"
    for job in suite.jobs:
        assert job.agent in agent_names()
        assert job.variants[0] == "original"
        assert job.settings.steps % job.settings.evaluations == 0
        assert job.settings.steps * job.settings.n_envs * job.settings.action_repeat <= job.settings.frames


def test_states_decides_the_claims_first():
    jobs = load_suite("states", size="gpu").jobs
    first = {(job.task, job.agent) for job in jobs[:9]}
    assert len({task for task, _ in first}) == 3
    assert {agent for _, agent in first} == {"relaxed", "exact", "dense"}
    for job in jobs[:9]:
        assert len(job.variants) >= 3
        assert job.settings.seeds == 10
        assert job.settings.width == 256
    assert {job.agent for job in jobs} == set(agent_names())
    # On a group of two elements with two banks the relaxed agent has the dense one's parameters anyway.
    assert {job.task for job in jobs if job.agent == "dense-equal-parameters"} == {
        "reacher_easy",
        "reacher_hard",
        "point_mass_easy",
    }


def test_a_suite_can_be_narrowed_and_changed():
    suite = load_suite(
        "states",
        tasks=["reacher_easy"],
        agents=["exact"],
        variants=["original", "gravity:0.5"],
        frames=9000,
        seeds=2,
    )
    (job,) = suite.jobs
    assert (job.task, job.agent, job.variants) == ("reacher_easy", "exact", ("original", "gravity:0.5"))
    assert (job.settings.frames, job.settings.seeds) == (9000, 2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": "state"}, "unknown suite 'state'; did you mean states"),
        ({"name": "states", "tasks": ["cartpole"]}, "unknown task 'cartpole'"),
        ({"name": "states", "agents": ["relax"]}, "unknown agent 'relax'; did you mean relaxed"),
        (
            {"name": "states", "tasks": ["walker_walk"], "variants": ["gravity"]},
            "unknown variant of walker_walk",
        ),
        ({"name": "states", "size": "large"}, "unknown size"),
        ({"name": "states", "frames": 3}, "'frames' is too small"),
        ({"name": "states", "seeds": 0}, "'seeds' must be at least 1"),
        ({"name": "states", "colour": 1}, "unknown setting 'colour'"),
        ({"name": "smoke", "tasks": ["walker_walk"]}, "has no job"),
    ],
)
def test_wrong_suites_are_told_in_one_line(arguments, reason):
    with pytest.raises(ControlError, match=reason) as caught:
        load_suite(**arguments)
    assert "\n" not in str(caught.value)


def test_the_dense_control_has_the_relaxed_agents_parameters():
    d1, d2 = (state_symmetry(load_task(name)) for name in ("cartpole_swingup", "reacher_easy"))
    widths = [matching_width("dense", s, Shape(width=64), reference="relaxed") for s in (d1, d2)]
    assert widths[0] == pytest.approx(64, abs=2)
    assert 40 < widths[1] < 52  # 64 / sqrt(2), first and last layers aside
    job = Job("reacher_easy", ("original",), "dense-equal-parameters", Settings(width=64))
    config = learner_config(job, d2, RunOptions(changes=(("tau", 0.01),)))
    assert config.agent == "dense"
    assert config.width == widths[1]
    assert config.updates_per_step == job.settings.n_envs
    assert config.tau == 0.01


def test_learner_settings_from_texts():
    found = learner_changes(["tau=0.01", "compile=true", "agent=dense", "matmul_dtype=tf32"])
    assert dict(found) == {"tau": 0.01, "compile": True, "agent": "dense", "matmul_dtype": "tf32"}
    with pytest.raises(ControlError, match="NAME=VALUE"):
        learner_changes(["tau"])
    with pytest.raises(ControlError, match="unknown agent 'relax'; did you mean relaxed"):
        learner_changes(["relax:tau=0.01"])
    with pytest.raises(ControlError, match="use --preset strong"):
        learner_changes(["exact:preset=strong"])


def config_of(agent, changes=(), **settings):
    (job,) = load_suite("states", tasks=["reacher_easy"], agents=[agent], **settings).jobs
    symmetry = state_symmetry(load_task("reacher_easy"))
    return learner_config(job, symmetry, RunOptions(changes=tuple(learner_changes(changes))))


def test_each_agent_has_its_own_changes():
    changes = ["relaxed:critic_lr=1e-3", "critic_lr=2e-3", "actor_lr=4e-3", "dense-equal-parameters:tau=0.1"]
    assert config_of("relaxed", changes).critic_lr == 1e-3
    assert config_of("exact", changes).critic_lr == 2e-3
    assert {config_of(agent, changes).actor_lr for agent in agent_names()} == {4e-3}
    assert [agent for agent in agent_names() if config_of(agent, changes).tau == 0.1] == [
        "dense-equal-parameters"
    ]


def test_preset_of_a_suite():
    plain = config_of("relaxed", preset="paper", n_envs=2)
    assert (plain.relaxation, plain.layer_norm) == ("free", False)
    strong = config_of("relaxed", n_envs=2)
    assert strong == config_of("relaxed", n_envs=2, preset="strong")
    assert strong.relaxation == "evidence"
    assert strong.layer_norm
    assert strong.normalize_observations
    # Two updates for each decision of each of the two environments.
    assert strong.updates_per_step == 2 * plain.updates_per_step == 4
    assert config_of("exact", updates_per_decision=3).updates_per_step == 3
    assert not config_of("dense", ["layer_norm=false"]).layer_norm
    assert config_of("dense-equal-parameters").layer_norm
