"""A kind, its layer and network, a rule and a gradient, all registered from this file alone."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn
from typer.testing import CliRunner

from rl_core import learner, relaxation
from rl_core.agents import Kind, find_kind, kind_names, register_kind, registry
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch, Metrics
from rl_core.layers import GroupLinear, Layer
from rl_core.learner import Autograd, register_gradient
from rl_core.networks import EncoderShape, Network, Shape, matching_width, standard_network
from rl_core.networks.base import Packed
from rl_core.networks.vectors import VectorNetwork
from rl_core.relaxation import Free, register_rule
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry
from rl_core.training import train
from tests.rl_core.problems import SMALL, Point, batch, make, symmetries


class Tilt(GroupLinear):
    """An exact layer whose outputs are scaled by a learned factor each."""

    def __init__(self, exact: GroupLinear, generators: Sequence[Generator]) -> None:
        super().__init__(exact.group, 1, False, generators)
        self.input_size, self.output_size, self.exact = exact.input_size, exact.output_size, exact
        self.scale = nn.Parameter(torch.ones(len(generators), 1, exact.output_size))

    def expand(self) -> tuple[Tensor, Tensor]:
        weight, bias = self.exact.expand()
        return weight * self.scale, bias


def tilt(layer: Layer, rows: int | None, generators: Sequence[Generator]) -> Layer:
    assert isinstance(layer, GroupLinear)
    return Tilt(layer, generators)


class Clipped(VectorNetwork):
    """A network on vectors with bounded outputs; fused code for its parent would be wrong for it."""

    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        return 3.0 * (super().apply(expanded, x) / 3.0).tanh()


def clipped(
    kind: Kind,
    symmetry: Symmetry,
    shape: Shape,
    encoder: EncoderShape | None,
    ensemble: int | None,
    generators: Sequence[Generator],
) -> Network:
    return Clipped(kind, symmetry, shape, ensemble, generators)


class Counting(Free):
    """Counts the updates, in a state that checkpoints hold."""

    def __init__(self, agent: SAC) -> None:
        self.count = torch.zeros((), dtype=torch.int64)

    def settle(self) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:  # type: ignore[override]
        self.count.copy_(state["count"])


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries that are as before after each test."""
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setattr(relaxation, "_RULES", dict(relaxation._RULES))
    monkeypatch.setattr(learner, "_FUSED", list(learner._FUSED))
    register_kind(Kind("tilted", "exact layers with scaled outputs", wrap=tilt))
    register_kind(Kind("clipped", "bounded relaxed networks", relaxes=True, build=clipped, rule=Counting))
    register_rule("counting", Counting)


@pytest.mark.parametrize("kind", ["tilted", "clipped"])
def test_registered_kind_trains_saves_loads_and_resumes(kind: str, tmp_path: Path) -> None:
    config = SMALL.replace(agent=kind)
    whole = train(Point((0, 1)), config, seeds=(0, 1), steps=12)
    assert isinstance(whole.agent.gradient, Autograd)
    train(Point((0, 1)), config, seeds=(0, 1), steps=6, directory=tmp_path, checkpoint_every=6)
    resumed = train(Point((0, 1)), config, seeds=(0, 1), steps=12, directory=tmp_path, resume=True)
    assert torch.equal(whole.agent.flat.values, resumed.agent.flat.values)
    states = [result.agent.relaxation.state_dict() for result in (whole, resumed)]
    assert states[0] == states[1]
    loaded = SAC.load(tmp_path)
    assert loaded.predict([0.3]) == pytest.approx(whole.agent.predict([0.3]), abs=1e-6)
    start = SAC(Point((0, 1)).symmetry, config, (0, 1))
    assert start.actor.check_equivariance() < 1e-5
    assert not torch.equal(start.flat.values, whole.agent.flat.values)


def test_rule_of_a_kind_and_of_relaxed_agents_acts_at_each_update() -> None:
    for settings in ({"agent": "clipped"}, {"agent": "relaxed", "relaxation": "counting"}):
        agent = train(Point((0, 1)), SMALL.replace(**settings), seeds=(0, 1), steps=12).agent
        assert isinstance(agent.relaxation, Counting)
        assert int(agent.relaxation.count) == agent.updates > 0


def test_fused_code_is_chosen_by_exact_types() -> None:
    symmetry = symmetries()["C2"]
    assert not isinstance(make("exact", symmetry).gradient, Autograd)
    for kind in ("tilted", "clipped"):
        with pytest.raises(ConfigError, match="no fused code"):
            _ = make(kind, symmetry, gradient="fused").gradient


def test_registered_gradient_is_chosen_where_it_supports_both_networks() -> None:
    class Step:
        def __init__(self, agent: SAC, batch: Batch, noise: Tensor) -> None:
            self.by_autograd = Autograd(agent)

        @torch.enable_grad()
        def __call__(self, batch: Batch, noise: Tensor) -> None:
            self.by_autograd(batch, noise)

        def metrics(self) -> Metrics:
            return self.by_autograd.metrics()

    symmetry = symmetries()["C2"]
    plain, fused = make("clipped", symmetry), make("clipped", symmetry)
    register_gradient(lambda network: type(network) is Clipped, Step)
    assert isinstance(make("tilted", symmetry).gradient, Autograd)
    assert not isinstance(fused.gradient, Autograd)
    for agent in (plain, fused):
        agent.update(batch(symmetry, (0, 1), 0))
    torch.testing.assert_close(plain.flat.values, fused.flat.values)


def test_names_of_this_package_are_taken_and_unknown_ones_are_refused() -> None:
    with pytest.raises(ConfigError, match="'exact' is part of rl_core"):
        register_kind(Kind("exact"))
    with pytest.raises(ConfigError, match=r"agent is 'wizard'; choose one of .*relaxed.*tilted"):
        SACConfig(agent="wizard")
    assert {"dense", "exact", "relaxed", "rpp", "augmented", "tilted"} <= set(kind_names())


def test_every_kind_of_the_package_is_declared_under_its_name() -> None:
    for name in kind_names():
        kind = find_kind(name)
        assert (kind.name, bool(kind.about)) == (name, True)


def test_kind_of_another_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("elsewhere", f"{__name__}:ELSEWHERE", registry.GROUP)
    monkeypatch.setattr(registry, "_installed", lambda: {"elsewhere": point})
    agent = make("elsewhere", symmetries()["C2"])
    assert agent.kind is ELSEWHERE
    wrong = EntryPoint("wrong", f"{__name__}:ELSEWHERE", registry.GROUP)
    monkeypatch.setattr(registry, "_installed", lambda: {"wrong": wrong})
    with pytest.raises(ConfigError, match="must be a Kind of that name"):
        make("wrong", symmetries()["C2"])


def test_sizes_of_registered_kinds_are_matched() -> None:
    symmetry, shape = symmetries()["C2"], Shape(32, 2)
    width = matching_width("tilted", symmetry, shape, reference="dense")
    assert width % 2 == 0
    assert width > 32


def test_help_lists_the_kinds() -> None:
    from rl_core.gymnasium.cli import app

    shown = CliRunner().invoke(app, ["train", "--help"]).output
    assert all(name in shown for name in ("augmented", "dense", "exact", "relaxed", "rpp"))


ELSEWHERE = Kind("elsewhere", "from another package", build=standard_network, group_layers=False)
