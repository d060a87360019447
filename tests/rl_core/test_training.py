"""Training: seeds are independent, equal runs are equal, and a killed one resumes bit for bit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl_core.checkpoint import exclusive, latest_checkpoint
from rl_core.checkpoint_reader import load_relaxed_weights
from rl_core.errors import ConfigError
from rl_core.evaluation import Evaluator
from rl_core.sac import load_agent
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial
from rl_core.training import train
from tests.rl_core.problems import SMALL, Point, run, values


def test_equal_runs_are_equal() -> None:
    assert torch.equal(values(run((0, 1), 40).agent), values(run((0, 1), 40).agent))


def test_seed_alone_learns_what_it_learns_in_a_batch() -> None:
    batch, alone = run((3, 4), 60).agent, run((4,), 60).agent
    for many, one in zip(batch.actor.parameters(), alone.actor.parameters(), strict=True):
        assert torch.allclose(many[1], one[0], atol=1e-5)


def test_resume_equals_training_in_one_go(tmp_path: Path) -> None:
    whole = run((0, 1), 100)
    run((0, 1), 60, tmp_path)
    resumed = run((0, 1), 100, tmp_path, resume=True)
    assert torch.equal(values(resumed.agent), values(whole.agent))
    assert resumed.history == whole.history
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert lines == whole.history


def test_load_agent_acts_as_the_trained_one(tmp_path: Path) -> None:
    agent = run((0, 1), 40, tmp_path).agent
    x = torch.randn(2, 5, 1)
    assert torch.equal(load_agent(tmp_path).act(x, deterministic=True), agent.act(x, deterministic=True))


def test_only_new_replay_rows_are_written_and_old_ones_go(tmp_path: Path) -> None:
    run((0,), 200, tmp_path)
    pieces = sorted(path.name for path in (tmp_path / "checkpoints" / "replay").glob("rows-*"))
    assert pieces[-1] == "rows-000000000180-000000000200.safetensors"
    assert pieces[0] >= "rows-000000000140"
    assert len(list((tmp_path / "checkpoints").glob("step-*"))) == 2


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import importlib.util
spec = importlib.util.spec_from_file_location("t", {file!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.run((0, 1), {steps}, Path({directory!r}), resume=True)
"""


def test_killed_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    steps = 400
    code = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), file=__file__, steps=steps, directory=str(tmp_path)
    )
    for kills in range(3):
        process = subprocess.Popen([sys.executable, "-c", code])
        # Not before some of it is done: a checkpoint further than last time.
        goal = 60 * (kills + 1)
        while process.poll() is None:
            folder = latest_checkpoint(tmp_path)
            if folder is not None and int(folder.name.removeprefix("step-")) >= goal:
                break
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = run((0, 1), steps, tmp_path, resume=True)
    assert torch.equal(values(resumed.agent), values(run((0, 1), steps).agent))


def test_leftovers_of_a_killed_training_go_at_the_next_start(tmp_path: Path) -> None:
    run((0,), 40, tmp_path)
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / ".tmp-step").mkdir()
    (checkpoints / ".tmp-step" / "agent.safetensors").write_bytes(b"half")
    (checkpoints / "replay" / ".tmp-rows.safetensors").write_bytes(b"half")
    with exclusive(tmp_path):
        # Another process that trains here would write such files itself.
        (checkpoints / ".tmp-new").mkdir()
        with pytest.raises(ConfigError, match="another process is training there; wait for it or"):
            run((0,), 60, tmp_path, resume=True)
        assert (checkpoints / ".tmp-new").exists()
    run((0,), 60, tmp_path, resume=True)
    assert not list(tmp_path.rglob(".tmp-*"))


def test_wrong_use_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seeds"):
        train(Point((0,)), SMALL, seeds=(1,), steps=5)
    with pytest.raises(ConfigError, match="no checkpoint"):
        load_agent(tmp_path)
    run((0,), 40, tmp_path)
    with pytest.raises(ConfigError, match="already"):
        run((0,), 40, tmp_path)
    broken = latest_checkpoint(tmp_path)
    assert broken is not None
    (broken / "agent.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ConfigError, match=r"agent\.safetensors.*damaged"):
        load_agent(tmp_path)


@pytest.mark.parametrize(
    "settings", [{}, *({"agent": kind, "residual": True} for kind in ("dense", "relaxed"))]
)
def test_point_is_learned(settings: dict[str, object]) -> None:
    config = SMALL.replace(
        width=16,
        batch_size=64,
        capacity=2000,
        actor_lr=3e-3,
        critic_lr=3e-3,
        alpha_lr=3e-3,
        gamma=0.9,
        **settings,
    )
    agent = train(Point((0, 1), n_envs=4), config, seeds=(0, 1), steps=600).agent
    x = torch.linspace(-1, 1, 21)[:, None].expand(2, -1, -1)
    after = x + 0.5 * agent.act(x, deterministic=True)
    # The best push ends at max(|x| − 0.5, 0) from the origin.
    best = (x.abs() - 0.5).clamp_min(0)
    assert float((after.abs() - best).mean()) < 0.1


def test_checkpoints_with_former_names_of_settings_still_load(tmp_path: Path) -> None:
    agent = run((0, 1), 40, tmp_path).agent
    document = max((tmp_path / "checkpoints").glob("step-*")) / "checkpoint.json"
    stored = json.loads(document.read_text())
    stored["config"]["gain_decay"] = stored["config"].pop("relaxed_decay")
    del stored["config"]["gradient"]
    document.write_text(json.dumps(stored))
    assert load_agent(tmp_path).config == agent.config
    resumed = run((0, 1), 60, tmp_path, resume=True).agent
    assert torch.equal(values(resumed), values(run((0, 1), 60).agent))


class ReturningBroken(Point):
    """A point whose steps are spoiled from a step on."""

    def __init__(self, spoil: Callable[[list[Tensor]], None], since: int = 0) -> None:
        super().__init__((0, 1))
        self.spoil, self.since, self.steps = spoil, since, 0

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        parts = [part.clone() for part in super().step(action)]
        if self.steps >= self.since:
            self.spoil(parts)
        self.steps += 1
        return tuple(parts)  # type: ignore[return-value]


def spoil_shape(parts: list[Tensor]) -> None:
    parts[1] = parts[1][..., None]


def spoil_flag(parts: list[Tensor]) -> None:
    parts[2] = parts[2].float()


def spoil_observation(parts: list[Tensor]) -> None:
    parts[0][1, 0] = torch.nan


def spoil_reward(parts: list[Tensor]) -> None:
    parts[1][1, 0] = torch.inf


def spoil_final(parts: list[Tensor]) -> None:
    parts[4][1, 0] = torch.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_shape, r"environment.step: reward: shape is \[2, 2, 1\], but \[2, 2\] is declared"),
        (spoil_flag, r"environment.step: terminated: type is torch.float32"),
        (spoil_observation, r"environment.step: observation of seed 1, environment 0 is not finite"),
        (spoil_reward, r"environment.step: reward of seed 1, environment 0 is not finite"),
    ],
)
def test_first_step_of_an_environment_is_checked(spoil: Callable[[list[Tensor]], None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(ReturningBroken(spoil), SMALL, seeds=(0, 1), steps=5)


@pytest.mark.parametrize(
    ("spoil", "name", "step"),
    [
        (spoil_observation, "observation", 21),
        (spoil_reward, "reward", 20),
        (spoil_final, "final_observation", 20),
    ],
)
def test_environment_is_blamed_for_its_own_nan(
    spoil: Callable[[list[Tensor]], None], name: str, step: int
) -> None:
    result = train(ReturningBroken(spoil, since=20), SMALL, seeds=(0, 1), steps=60, log_every=5)
    assert result.stopped is not None
    assert f"environment: {name} of seed 1, environment 0 at step {step} is not finite" in result.stopped
    assert "learning rate" not in result.stopped


@pytest.mark.parametrize("kind", ["width", "rows", "action"])
def test_symmetry_of_another_size_is_refused(kind: str) -> None:
    env, group = Point((0,)), cyclic(2)
    env.symmetry = {
        "width": Symmetry(group, sign(group) + sign(group), sign(group)),
        "rows": Symmetry(group, sign(group), sign(group), rows=1),
        "action": Symmetry(group, sign(group), sign(group) + sign(group)),
    }[kind]
    message = "action_size is 1" if kind == "action" else "the declared symmetry acts on"
    with pytest.raises(ConfigError, match=message):
        train(env, SMALL, seeds=(0,), steps=5)


class Pictures(Point):
    """A point that is seen as a picture of one pixel's colour."""

    def __init__(self, side: int) -> None:
        super().__init__((0,))
        group = dihedral(1)
        self.symmetry = Symmetry(group, trivial(group, 3), trivial(group), plane=standard(group))
        self.side = side

    def encode(self, observation: Tensor) -> Tensor:
        return observation[..., None, None].expand(*observation.shape[:2], 3, self.side, self.side)


def test_images_of_another_size_are_trained_on() -> None:
    config = SMALL.replace(
        image_size=15, encoder_channels=4, encoder_convolutions=2, encoder_features=8, learning_starts=8
    )
    assert train(Pictures(15), config, seeds=(0,), steps=6).agent.updates > 0
    with pytest.raises(
        ConfigError, match="images or windows are 17 x 17, but image_size is 15; set image_size=17"
    ):
        train(Pictures(17), config, seeds=(0,), steps=6)


def test_relaxed_weights_of_images_are_read_from_checkpoints(tmp_path: Path) -> None:
    config = SMALL.replace(
        image_size=21, encoder_channels=4, encoder_convolutions=2, encoder_features=8, learning_starts=8
    )
    agent = train(Pictures(21), config, seeds=(0,), steps=6, directory=tmp_path).agent
    _, found = load_relaxed_weights(tmp_path)
    assert {"actor encoder_conv0", "actor encoder_conv1", "critic encoder_trunk"} < found.keys()
    for name, network in (("actor", agent.actor), ("critic", agent.critic)):
        own = {f"{name} {key.removesuffix('.w')}": w for key, w in network.relaxed_weights().items()}
        assert own.keys() == {key for key in found if key.startswith(name)}
        for key, w in own.items():
            torch.testing.assert_close(torch.from_numpy(found[key]).float(), w, rtol=0, atol=0)


def test_capacity_below_learning_starts_is_refused() -> None:
    with pytest.raises(ConfigError, match="capacity is 4, below learning_starts = 8"):
        train(Point((0,)), SMALL.replace(capacity=4), seeds=(0,), steps=5)


def test_relaxing_no_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="relax_layers is 'inner', but at depth 1"):
        train(Point((0,)), SMALL.replace(depth=1, relax_layers="inner"), seeds=(0,), steps=5)


def test_resume_with_another_symmetry_of_equal_size_is_refused(tmp_path: Path) -> None:
    run((0,), 20, tmp_path)
    env, group = Point((0,)), cyclic(2)
    env.symmetry = Symmetry(group, sign(group), trivial(group))
    with pytest.raises(ConfigError, match="made with another symmetry: action differ"):
        train(env, SMALL, seeds=(0,), steps=40, directory=tmp_path, resume=True)


def test_returns_of_finished_episodes_are_logged() -> None:
    class Paid(Point):
        def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
            x, reward, *rest = super().step(action)
            return x, torch.ones_like(reward), *rest  # type: ignore[return-value]

    lines = train(Paid((0, 1)), SMALL, seeds=(0, 1), steps=20, log_every=5).history
    # Episodes of 7 steps end after steps 7 and 14.
    assert [line.get("episode_return") for line in lines if line["seed"] == 1] == [None, 7.0, 7.0, None]


def test_checkpoint_without_running_returns_resumes(tmp_path: Path) -> None:
    run((0, 1), 60, tmp_path)
    document = max((tmp_path / "checkpoints").glob("step-*")) / "checkpoint.json"
    stored = json.loads(document.read_text())
    del stored["episodes"]
    document.write_text(json.dumps(stored))
    resumed, whole = run((0, 1), 80, tmp_path, resume=True), run((0, 1), 80)
    assert torch.equal(values(resumed.agent), values(whole.agent))
    # The episode that was running at step 60 has no return.
    assert "episode_return" not in resumed.history[-8]
    assert resumed.history[-4:] == whole.history[-4:]


def test_evaluation_repeats_actions_as_training_does() -> None:
    result = train(
        Point((0,), length=8),
        SMALL,
        seeds=(0,),
        steps=10,
        action_repeat=4,
        evaluate=Evaluator(lambda: Point((0,), length=8), steps=8),
    )
    # Episodes of 8 steps are 2 decisions long.
    assert result.history[-1]["eval_length"] == 2.0


def test_events_after_the_resumed_checkpoint_are_purged(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run((0,), 35, tmp_path)
    shutil.rmtree(max((tmp_path / "checkpoints").glob("step-*")))
    run((0,), 50, tmp_path, resume=True)
    events = accumulator.EventAccumulator(str(tmp_path / "events")).Reload()
    steps = [event.step for event in events.Scalars("critic_loss/seed-0")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 50
