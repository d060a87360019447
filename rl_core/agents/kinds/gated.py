"""The gated agent: exact, with a free correction where a gate finds the symmetry broken.

For symmetries that are broken in a part of the states only, after PE-SAC (Chang et al., "Partially equivariant
reinforcement learning in symmetry-breaking environments", ICLR 2026, arXiv 2512.00915). Actor and critics are

    y(s) = (1 − λ(s)) y_exact(s) + λ(s) y_free(s),   y_free = y_exact + correction.

In y_free the exact part is a constant to the gradient of its weights: the exact path learns only from states in which
it decides. The correction starts at zero, so that a gate that opens changes nothing at first. λ is hard, 0 or 1, which
was better than a soft gate in that paper. It is not trained on the loss of SAC: `GateLearner` trains two models of one
step, an exact one and a free one, and opens the gate where their disagreement is real, that is where the free one
predicts new transitions better. The gate starts shut, so the agent starts as the exact one.

Axes: S seeds, B batch, N rows, E ensemble.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from rl_core.agents import Kind, find_kind
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.layers.base import Layer
from rl_core.layers.initial import HEAD_GAIN
from rl_core.layers.linear import DenseLinear, Head, Lifting, RegularLinear
from rl_core.layers.rpp import residual
from rl_core.layers.sets import SetHead, SetLifting, SetLinear
from rl_core.networks.base import Network, Packed, Shape
from rl_core.networks.build import standard_network
from rl_core.networks.images import EncoderShape
from rl_core.optimizer import FlatParameters
from rl_core.random import generators
from rl_core.relaxation import Free
from rl_core.symmetry.representations import Representation, trivial
from rl_core.symmetry.symmetry import Symmetry

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["KIND", "Gate", "GateLearner", "GatedNetwork", "OneStepModel"]

WIDTH = 64
"""Of the hidden layers of gate and models."""
RATE = 3e-3
"""Learning rate of gate and models."""
HORIZON = 100
"""Updates over which the scale of what the models predict is averaged."""
OFFSET_RATE = 1e-2
"""Learning rate of the gate's offsets, which have further to go."""
AVERAGE = 0.02
"""Share of the learned gate in the networks' gate at each update: it follows the average, which flickers less."""
PRIOR = 0.5
"""Weight of the prior that the symmetry holds, relative to the mean disagreement of the models: where they differ less
than this share of the mean, the gate stays shut. An odd row among three others moves the exact model for all of them,
but for itself most."""
OPEN_WEIGHT = 0.1
"""Weight of transitions in the exact model's loss where the gate is open; above 0, so that the gate can shut again."""
FLOOR = 3e-4
"""The least weight of the prior, as a share of the variance of what is predicted: models of a symmetric environment
differ by their errors of fit."""


FREE_ROWS = Kind("free", "matrices of each row beside shared ones", wrap=partial(residual, scale=1.0))
"""The free path on rows: a network without any sharing would see few data for each row."""


class OneStepModel(nn.Module):
    """A small network from one representation to another, [S, B, d] to [S, B, o] or rows [S, B, N, d] to [S, B, N, o].

    Parameters
    ----------
    source, target
        Representations on input and output, of each row where there are rows.
    rows
        N, or None.
    free
        Whether the layers are unconstrained; on rows, each row then has matrices of its own beside the shared ones.
    sources
        A generator for each of the S copies.
    sectors
        Of the rows, where only those of a sector are exchangeable.
    """

    def __init__(
        self,
        source: Representation,
        target: Representation,
        rows: int | None,
        *,
        free: bool,
        sources: Sequence[Generator],
        sectors: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        group, self.rows = source.group, rows
        fields = max(1, round(WIDTH / group.order))
        layers: list[Layer]
        if rows is not None:
            layers = [
                SetLifting(source, fields, generators=sources, sectors=sectors),
                SetLinear(group, fields, fields, generators=sources, sectors=sectors),
                SetHead(target, fields, generators=sources, sectors=sectors),
            ]
            if free:
                layers = [residual(layer, rows, sources, scale=1.0) for layer in layers]
        elif free:
            layers = [
                DenseLinear(source.dimension, WIDTH, generators=sources),
                DenseLinear(WIDTH, WIDTH, generators=sources),
                DenseLinear(WIDTH, target.dimension, gain=HEAD_GAIN, generators=sources),
            ]
        else:
            layers = [
                Lifting(source, fields, generators=sources),
                RegularLinear(group, fields, fields, generators=sources),
                Head(target, fields, generators=sources),
            ]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, presence: Tensor | None = None) -> Tensor:
        """Return the output; rows that are absent, by their presence [S, B, N, 1], are zero in input and output."""
        y = x if self.rows is None else x.transpose(1, 2)
        seen: dict[str, Tensor] = {} if presence is None else {"presence": presence.transpose(1, 2)}
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            y = layer.apply_expanded(layer.expand(), y if i == 0 else nn.functional.silu(y), **seen)
            for there in seen.values():
                y = y * there
        return y if self.rows is None else y.transpose(1, 2)


class Gate(nn.Module):
    """A number for each state [S, B, 1], or for each row [S, B, N], that is −1 at first; the gate is open above 0.

    It is invariant under the group, and moves with the rows but for an offset of each row: single rows may break the
    exchange of rows.
    """

    def __init__(self, symmetry: Symmetry, sources: Sequence[Generator]) -> None:
        super().__init__()
        self.symmetry = symmetry
        one = trivial(symmetry.group)
        self.model = OneStepModel(
            symmetry.observation, one, symmetry.rows, free=False, sources=sources, sectors=symmetry.sectors
        )
        start_at_zero(self.model.layers[-1])
        self.offset = nn.Parameter(-torch.ones(len(sources), 1, symmetry.rows or 1))
        self.row_axes = {"offset": 2}

    def forward(self, observation: Tensor) -> Tensor:
        """Return the numbers."""
        value: Tensor = self.model(*self.symmetry.split_presence(observation))
        return (value if self.model.rows is None else value.squeeze(-1)) + self.offset


class GatedNetwork(Network):
    """An actor or critics: the exact network plus, where the gate is open, a free correction.

    Parameters
    ----------
    symmetry, shape, ensemble
        As for other networks.
    sources
        A generator for each copy.
    """

    def __init__(
        self, symmetry: Symmetry, shape: Shape, ensemble: int | None, sources: Sequence[Generator]
    ) -> None:
        super().__init__(symmetry, len(sources), ensemble)
        free = find_kind("dense") if symmetry.rows is None else FREE_ROWS
        self.exact = standard_network(find_kind("exact"), symmetry, shape, None, ensemble, sources)
        self.correction = standard_network(free, symmetry, shape, None, ensemble, sources)
        start_at_zero(self.correction.layers["head"])
        self.gate = Gate(symmetry, sources[:: ensemble or 1]).requires_grad_(False)
        self.row_values = self.exact.row_values
        with torch.no_grad():
            self._count = len(self.exact.expand())

    def named_layers(self) -> Iterator[tuple[str, Layer]]:
        """The layers of the exact path, then of the correction."""
        for part, network in (("exact", self.exact), ("correction", self.correction)):
            for name, layer in network.named_layers():
                yield f"{part}_{name}", layer

    def start_at_zero(self) -> None:
        """Set the weights of the exact path's last layer to zero, as those of the correction are from the start."""
        self.exact.start_at_zero()

    def expand(self) -> list[Tensor]:
        """The effective weights of the exact path, then of the correction."""
        return self.exact.expand() + self.correction.expand()

    def pack(self, x: Tensor, a: Tensor) -> Packed:
        """As the exact path."""
        return self.exact.pack(x, a)

    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        """The output for effective weights."""
        weights, free = expanded[: self._count], expanded[self._count :]
        observation = x if isinstance(x, Tensor) else x[0]
        if self.symmetry.rows is None:
            # A critic's input goes on with the action.
            observation = observation[..., : self.symmetry.observation.dimension]
        share = self._spread(self.share(observation), self.symmetry.split_presence(observation)[1])
        y = self.exact.apply(weights, x)
        share = share.to(y.dtype)
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
            # The same numbers; their gradient reaches the weights where the gate is shut, and the input everywhere.
            y = (1 - share) * y + share * self._constant(weights, x, y)
        return y + share * self.correction.apply(free, x)

    def _constant(self, weights: Sequence[Tensor], x: Packed, y: Tensor) -> Tensor:
        """The exact output y, as a constant to the gradient of the weights."""
        inputs = (x,) if isinstance(x, Tensor) else x
        if any(part.requires_grad for part in inputs):
            return self.exact.apply([weight.detach() for weight in weights], x)
        return y.detach()

    @torch.no_grad()
    def share(self, observation: Tensor) -> Tensor:
        """λ of observations: 0 or 1, [S, B, 1], or of each row [S, B, N], 0 where it is absent."""
        value: Tensor = self.gate(observation.float())
        presence = self.symmetry.split_presence(observation)[1]
        share = (value > 0).float()
        return share if presence is None else share * presence.squeeze(-1)

    def _spread(self, share: Tensor, presence: Tensor | None) -> Tensor:
        """λ beside the output: of an actor [S, B, 1 or 2N], of critics [S, 1, B] or of rows [S, 1, B, N]."""
        if self.ensemble is None:
            return share if self.symmetry.rows is None else share.repeat(1, 1, 2)
        if self.row_values:
            return share[:, None]
        mean = share.mean(-1) if presence is None else share.sum(-1) / presence.sum((2, 3)).clamp_min(1)
        return mean[:, None]

    def parameter_count(self) -> int:
        """Number of parameters of one copy, without the gate."""
        return self.exact.parameter_count() + self.correction.parameter_count()


class GateLearner(Free):
    """Trains the models of one step and the gate on each batch, beside the networks.

    With targets t (the change of the observation, and the reward) the exact model's error less the free model's is
    e = |t − m_exact|² − |t − m_free|², and their disagreement is D = |m_exact − m_free|². The ratio of their
    expectations is 1 where the free model has the truth and −1 where the exact one has, whatever the noise of t. The
    gate is a regression of e/D on the state with weights D, and a prior at −1, on the half of the batch that the models
    are not trained on. As the exact path, the exact model learns mostly where the gate is shut: then a few odd rows do
    not spoil it for the others.

    Parameters
    ----------
    agent
        Its networks' gates follow the one trained here.
    """

    def __init__(self, agent: SAC) -> None:
        self._agent, symmetry = agent, agent.symmetry
        source = symmetry.observation + symmetry.action
        target = symmetry.observation + trivial(symmetry.group)
        self.gate = Gate(symmetry, generators(agent.seeds, "gate")).to(agent.device)
        self.exact, self.free = (
            OneStepModel(
                source,
                target,
                symmetry.rows,
                free=free,
                sources=generators(agent.seeds, "free model" if free else "exact model"),
                sectors=symmetry.sectors,
            ).to(agent.device)
            for free in (False, True)
        )
        parts = (self.exact, self.free, self.gate.model)
        learned = [p for part in parts for p in part.parameters()]
        self._flat = FlatParameters([(RATE, learned), (OFFSET_RATE, [self.gate.offset])])
        self._optimizer = self._flat.adam()
        # Scales that commute with the group: those of numbers that the group exchanges are equal.
        self._mixing = (target.matrices**2).mean(0).float().to(agent.device)
        self._scale = torch.zeros(len(agent.seeds), target.dimension, device=agent.device)
        self._count = torch.zeros((), dtype=torch.int64)
        self._move_gates(1.0)

    @torch.enable_grad()
    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """Take a step of the models on the first half of the batch, and one of the gate on the second."""
        half = batch.action.shape[1] // 2
        present, present_next = (
            self._agent.symmetry.split_presence(x)[1] for x in (batch.observation, batch.next_observation)
        )
        # Only rows that are present before and after the step count.
        there = None if present is None or present_next is None else present * present_next
        inputs, targets = self._normalised(batch, there)
        outputs = [model(inputs, present) for model in (self.exact, self.free)]
        errors = [(output - targets).square().sum(-1) for output in outputs]
        if there is not None:
            outputs = [output * there for output in outputs]
            errors = [error * there.squeeze(-1) for error in errors]
        shut = 1 - (1 - OPEN_WEIGHT) * self._share(batch.observation[:, :half])
        fit = (errors[0][:, :half] * shut + errors[1][:, :half]).flatten(1).mean(1)
        disagreement = (outputs[0] - outputs[1]).detach().square().sum(-1)[:, half:]
        gain = (errors[0] - errors[1]).detach()[:, half:]
        if self._agent.symmetry.rows is None:
            disagreement, gain = disagreement[..., None], gain[..., None]
        mean = disagreement.flatten(1).mean(1)[:, None, None]
        prior = PRIOR * mean + FLOOR * targets.shape[-1]
        value = self.gate(batch.observation[:, half:])
        loss = ((disagreement + prior) * value.square() - 2 * (gain - prior) * value) / (mean + prior)
        if there is not None:
            loss = loss * there[:, half:].squeeze(-1)
        self._flat.gradients.zero_()
        torch.autograd.backward((fit + loss.flatten(1).mean(1)).sum())
        self._optimizer.step()
        self._move_gates(AVERAGE)

    def _share(self, observation: Tensor) -> Tensor:
        """λ of the networks, [S, B] or of rows [S, B, N]."""
        actor = self._agent.actor
        assert isinstance(actor, GatedNetwork)
        share = actor.share(observation)
        return share.squeeze(-1) if actor.symmetry.rows is None else share

    @torch.no_grad()
    def _normalised(self, batch: Batch, presence: Tensor | None) -> tuple[Tensor, Tensor]:
        """Observation and action, and the change of the observation and the reward at a scale of one."""
        action, reward, symmetry = batch.action, batch.reward, self._agent.symmetry
        now, following = (symmetry.split_presence(x)[0] for x in (batch.observation, batch.next_observation))
        if symmetry.rows is not None:
            action = action[..., None]
            # A reward of all rows together is shared equally.
            reward = (
                reward if reward.ndim == 3 else reward[..., None].expand(batch.action.shape) / action.shape[2]
            )
        inputs = torch.cat([now, action], -1)
        targets = torch.cat([following - now, reward[..., None]], -1)
        if presence is not None:
            inputs, targets = inputs * presence, targets * presence
        self._count += 1
        squares = targets.square().flatten(1, -2).mean(1)
        self._scale.lerp_(squares @ self._mixing, max(1.0 / HORIZON, 1.0 / float(self._count)))
        scale = self._scale.clamp_min(1e-12).sqrt()
        return inputs, targets / scale.view(len(scale), *[1] * (targets.ndim - 2), -1)

    @torch.no_grad()
    def _move_gates(self, share: float) -> None:
        """Move the networks' gates this share of the way to the learned one."""
        for network in self._agent.networks.values():
            assert isinstance(network, GatedNetwork)
            for own, learned in zip(network.gate.parameters(), self.gate.parameters(), strict=True):
                own.lerp_(learned, share)

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return gate, models, their optimiser and the scales."""
        state = {"values": self._flat.values, "scale": self._scale, "count": self._count}
        for i, averages in enumerate(self._optimizer.state.values()):
            state |= {f"adam.{i}.{name}": value for name, value in averages.items()}
        return state

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        for name, own in self.state_dict().items():
            own.copy_(state[name])


@torch.no_grad()
def start_at_zero(layer: nn.Module) -> None:
    """Set the parameters of a last layer to zero."""
    for parameter in layer.parameters():
        parameter.zero_()


def build(
    kind: Kind,
    symmetry: Symmetry,
    shape: Shape,
    encoder: EncoderShape | None,
    ensemble: int | None,
    generators: Sequence[Generator],
) -> Network:
    """Return the actor or the critics."""
    if symmetry.plane is not None:
        raise ConfigError("the gated agent has no networks on images; take the relaxed agent")
    return GatedNetwork(symmetry, shape, ensemble, generators)


KIND = Kind(
    "gated",
    "exact, with a free correction where a learned gate finds the symmetry broken",
    build=build,
    rule=GateLearner,
    halves=True,
)
