"""Strategies that fill an agent's gradient buffer: autograd, fused code, or a CUDA graph of either.

`rl_core.sac.SAC.update` uses one of them; all compute the numbers of ``agent.losses(batch, noise)[0].backward()``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch, Metrics
from rl_core.fused.sac_gradient import FusedGradient, Step
from rl_core.fused.set_step import SetStep, supports_sets
from rl_core.fused.vector_step import VectorStep, supports_vectors
from rl_core.networks.base import Network

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["Autograd", "Gradient", "GraphedUpdates", "Measured", "choose_gradient", "register_gradient"]

logger = logging.getLogger(__name__)

WARM_UP = 3


class Gradient(Protocol):
    """Fills an agent's gradient buffer; metrics are computed only when they are read."""

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Compute the gradient of the losses of encoded transitions."""

    def metrics(self) -> Metrics:
        """Metrics of the last call."""


_FUSED: list[tuple[Callable[[Network], bool], Callable[[SAC, Batch, Tensor], Step]]] = [
    (supports_vectors, VectorStep),
    (supports_sets, SetStep),
]


def register_gradient(
    supports: Callable[[Network], bool], step: Callable[[SAC, Batch, Tensor], Step]
) -> None:
    """Make fused gradients known for further networks.

    Parameters
    ----------
    supports
        Returns whether there is fused code for a network; it has to look at the exact types of network and layers, as a
        subclass may compute something else.
    step
        Makes the gradient for batches of one shape of an agent whose actor and critics are supported.
    """
    _FUSED.append((supports, step))


def choose_gradient(agent: SAC, *, own_losses: bool = False) -> Gradient:
    """Return the strategy that `SACConfig.gradient` asks for; fused code leaves batches with absent rows to autograd.

    Parameters
    ----------
    agent
        Its networks and layers are recognised by their exact types.
    own_losses
        Whether the agent's class changes the losses, which fused code does not support.

    Raises
    ------
    ConfigError
        For ``fused`` where there is no fused code for the agent.
    """
    config = agent.config
    if config.gradient == "fused" and own_losses:
        raise ConfigError(
            f"gradient is 'fused', but {type(agent).__name__} has losses of its own; use 'auto' or 'autograd'"
        )
    if not own_losses and (config.gradient == "fused" or (config.gradient == "auto" and not config.compile)):
        for supports, step in _FUSED:
            if supports(agent.actor) and supports(agent.critic):
                return FusedGradient(agent, step, Autograd(agent))
    if config.gradient == "fused":
        names = f"{type(agent.actor).__name__} and {type(agent.critic).__name__}"
        raise ConfigError(
            f"gradient is 'fused', but there is no fused code for {names} with these layers on "
            f"{agent.device.type}; use 'auto' or 'autograd'"
        )
    return Autograd(agent)


class Autograd:
    """Gradient by autograd, compiled where `SACConfig.compile` asks for it and a compiler works."""

    def __init__(self, agent: SAC) -> None:
        self.agent = agent
        self._compiled = agent.config.compile
        self._metrics: Metrics = {}
        self._losses: Callable[[Batch, Tensor], tuple[Tensor, Metrics]] = agent.losses
        if self._compiled:
            self._losses = torch.compile(agent.losses, dynamic=False)

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Compute the gradient of the losses of encoded transitions."""
        self.agent.flat.gradients.zero_()
        try:
            loss, self._metrics = self._losses(batch, noise)
        except Exception as error:
            # The error of a missing or broken compiler differs between versions and platforms.
            if not self._compiled:
                raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            logger.warning("torch.compile does not work here; training goes on without it: %s", reason)
            self._compiled, self._losses = False, self.agent.losses
            loss, self._metrics = self._losses(batch, noise)
        torch.autograd.backward(loss)

    def metrics(self) -> Metrics:
        """Metrics of the last call."""
        return self._metrics


class Measured:
    """Metrics of a step that was taken elsewhere."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def metrics(self) -> Metrics:
        """Metrics of the last step."""
        return self._metrics


class GraphedUpdates:
    """Gradient steps as one CUDA graph over buffers of its own.

    Parameters
    ----------
    agent
        Its parameters stay where they are in memory.
    gradient
        The strategy that is captured.
    batch, noise
        Transitions and noise of the shapes to come; noise is [count, S, 2, B, A].
    """

    def __init__(self, agent: SAC, gradient: Gradient, batch: Batch, noise: Tensor) -> None:
        self.agent, self._gradient = agent, gradient
        self.batch = Batch(*(part.clone() for part in batch))
        self.noise = noise.clone()
        state = [agent.flat.values, agent.target_values]
        state += [] if agent.average is None else [agent.average_values]
        state += [value for own in agent.optimizer.state.values() for value in own.values()]
        before = [value.clone() for value in state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._steps()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._steps()
            self._metrics = gradient.metrics()
        with torch.no_grad():
            for value, old in zip(state, before, strict=True):
                value.copy_(old)

    def run(self, batch: Batch, noise: Tensor) -> None:
        """Take the steps."""
        for buffer, part in zip((*self.batch, self.noise), (*batch, noise), strict=True):
            buffer.copy_(part)
        self.graph.replay()

    def metrics(self) -> Metrics:
        """Metrics of the last step; the next one overwrites them."""
        return self._metrics

    def _steps(self) -> None:
        for part, noise in zip(self.batch.split(len(self.noise)), self.noise, strict=True):
            self._gradient(part, noise)
            self.agent.relaxation.correct()
            self.agent.descend()
