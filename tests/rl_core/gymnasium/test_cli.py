"""The command `equitrade gym`: what it prints, stores, resumes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from equitrade.console import run_command
from rl_core.gymnasium.cli import app
from rl_core.sac import SAC

SYMMETRY = str(Path(__file__).parents[3] / "rl_core" / "gymnasium" / "symmetries" / "pendulum.toml")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    settings = "[sac]\nwidth = 8\nbatch_size = 16\nlearning_starts = 8\n"
    (tmp_path / "small.toml").write_text(settings, encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run_command(app, ["train", "--env", "Pendulum-v1", "--config", "small.toml", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_train_stores_an_agent_and_resumes(command: Command, tmp_path: Path) -> None:
    first = ("--symmetry", SYMMETRY, "--seeds", "2", "--out", "agent", "--json")
    code, out, _ = command(*first, "--steps", "20")
    assert code == 0
    document = json.loads(out)
    assert len(document["returns"]) == 2
    assert document["path"] == "agent"
    agent = SAC.load(tmp_path / "agent")
    assert agent.config.agent == "relaxed"
    observation = np.array([0.6, 0.8, 1.0])
    mirrored = agent.predict(observation * [1, -1, -1])
    assert mirrored.shape == (1,)
    code, _, error = command(*first, "--steps", "20")
    assert code == 2
    assert "already exists" in error
    assert command(*first, "--steps", "20", "--resume")[0] == 0


def test_train_prints_returns_without_storing_anything(command: Command, tmp_path: Path) -> None:
    code, out, error = command("--agent", "dense", "--seeds", "1", "--steps", "10")
    assert code == 0
    assert "Return of Pendulum-v1" in out
    assert "give --out DIR" in error
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_preset_is_the_base_of_the_settings_in_a_file(command: Command, tmp_path: Path) -> None:
    chosen = ("--agent", "dense", "--seeds", "1", "--steps", "10", "--preset", "strong", "--out", "agent")
    assert command(*chosen)[0] == 0
    config = SAC.load(tmp_path / "agent").config
    assert (config.layer_norm, config.normalize_observations) == (True, True)
    assert config.width == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["relaxed", "--symmetry"]),
        (("--symmetry", "nothing.toml"), ["nothing.toml: cannot be read"]),
        (("--symmetry", SYMMETRY, "--resume"), ["--out"]),
        (("--symmetry", SYMMETRY, "--env", "CartPole-v1"), ["CartPole-v1", "continuous"]),
        (("--symmetry", SYMMETRY, "--agent", "best"), ["best"]),
        (("--symmetry", SYMMETRY, "--preset", "best"), ["preset is 'best'", "paper, strong"]),
        (("--symmetry", SYMMETRY, "--config", SYMMETRY), ["unknown key 'action'", "[sac]"]),
        (("--symmetry", SYMMETRY, "--config", "nothing.toml"), ["nothing.toml"]),
    ],
)
def test_bad_input_ends_with_one_line(command: Command, arguments: tuple[str, ...], words: list[str]) -> None:
    code, _, error = command(*arguments)
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert all(word in error for word in words), error
