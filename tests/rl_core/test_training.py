"""Training: seeds are independent, equal runs are equal, and a killed one resumes bit for bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl_core.checkpoint import latest_checkpoint
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.random import Noise
from rl_core.sac import SAC, load_agent
from rl_core.symmetry import Symmetry, cyclic, sign
from rl_core.training import TrainResult, train

SMALL = SACConfig(
    width=8, depth=2, batch_size=16, capacity=64, learning_starts=8, agent="relaxed", cuda_graph=False
)


class Point:
    """A point on a line that is to be pushed to the origin; mirrored states and pushes are alike."""

    def __init__(self, seeds: tuple[int, ...], n_envs: int = 2, length: int = 7) -> None:
        self.seeds, self.n_envs, self.length = seeds, n_envs, length
        self.symmetry = Symmetry(cyclic(2), sign(cyclic(2)), sign(cyclic(2)))
        self.observation_shape, self.action_size, self.device = (1,), 1, torch.device("cpu")
        self.noise = Noise(seeds)
        self.draws = 0
        self.x = self.age = torch.zeros(0)

    def reset(self) -> Tensor:
        self.x, self.age = self._start(), torch.zeros(len(self.seeds), self.n_envs)
        return self.x

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        final = self.x + 0.5 * action
        self.age = self.age + 1
        truncated = self.age >= self.length
        reward = -final.square().sum(-1)
        self.x = torch.where(truncated[..., None], self._start(), final)
        self.age = torch.where(truncated, 0.0, self.age)
        return self.x, reward, torch.zeros_like(truncated), truncated, final

    def encode(self, observation: Tensor) -> Tensor:
        return observation

    def state_dict(self) -> Mapping[str, Tensor]:
        return {"x": self.x, "age": self.age, "draws": torch.tensor(self.draws)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.x, self.age, self.draws = state["x"], state["age"], int(state["draws"])

    def _start(self) -> Tensor:
        self.draws += 1
        return self.noise.uniform("start", self.draws, (self.n_envs, 1)) * 2 - 1


def run(
    seeds: tuple[int, ...], steps: int, directory: Path | None = None, resume: bool = False
) -> TrainResult:
    return train(
        Point(seeds),
        SMALL,
        seeds=seeds,
        steps=steps,
        directory=directory,
        resume=resume,
        log_every=5,
        checkpoint_every=20,
    )


def values(agent: SAC) -> Tensor:
    return torch.cat([agent.flat.values, agent.target_values])


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


def test_divergence_stops_with_the_reason() -> None:
    wild = SMALL.replace(divergence_limit=1e-9)
    result = train(Point((0,)), wild, seeds=(0,), steps=50, log_every=5)
    assert result.stopped is not None
    assert "seed 0" in result.stopped


def test_point_is_learned() -> None:
    config = SMALL.replace(
        width=16, batch_size=64, capacity=2000, actor_lr=3e-3, critic_lr=3e-3, alpha_lr=3e-3, gamma=0.9
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
