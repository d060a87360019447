"""Gradient steps as fast as the machine allows; the numbers are those of `rl_core.sac.SAC.update`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from rl_core.fused.set_step import SetGradient, can_derive_sets
from rl_core.fused.vector_step import HandGradient, can_derive
from rl_core.replay import Batch
from rl_core.sac import SAC, Metrics

__all__ = ["Learner"]

logger = logging.getLogger(__name__)

WARM_UP = 3


class Gradient(Protocol):
    """Fills an agent's gradient buffer; the metrics are computed when they are asked for."""

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Derive the losses of encoded transitions."""

    def metrics(self) -> Metrics:
        """Those of the last call."""


class Learner:
    """Takes gradient steps for an agent.

    Networks on vectors, and on the CPU those on rows, get their gradient by hand, others by autograd, which
    `SACConfig.compile` compiles. On CUDA with `SACConfig.cuda_graph` all updates of a call are one graph.

    Parameters
    ----------
    agent
        Its parameters must stay where they are in memory; their values may be changed from outside.
    """

    def __init__(self, agent: SAC) -> None:
        self.agent = agent
        config = agent.config
        self._gradient: Gradient = Autograd(agent)
        if not config.compile:
            for known, by_hand in ((can_derive, HandGradient), (can_derive_sets, SetGradient)):
                if known(agent.actor) and known(agent.critic):
                    self._gradient = by_hand(agent)
        self._graphs: dict[tuple[int, torch.Size], _Graph] = {}
        self._latest: Gradient | _Graph | None = None
        self._use_graphs = config.cuda_graph and agent.device.type == "cuda"

    def update(self, batch: Batch, count: int = 1) -> None:
        """Take ``count`` gradient steps, each on its part of the batch.

        Parameters
        ----------
        batch
            Encoded transitions ``[S, count · B, …]``.
        count
            Gradient steps.
        """
        agent = self.agent
        with agent.precision():
            if self._use_graphs:
                self._update_by_graph(batch, count)
                return
            for part in _parts(batch, count):
                self._gradient(agent.augment(part), agent.update_noise(part))
                agent.descend()
                agent.updates += 1
        self._latest = self._gradient

    def metrics(self) -> Metrics:
        """Those of the last gradient step, each ``[S]``, or none where none was taken; read before the next."""
        return {} if self._latest is None else self._latest.metrics()

    def _update_by_graph(self, batch: Batch, count: int) -> None:
        agent = self.agent
        parts, noises = [], []
        for part in _parts(batch, count):
            parts.append(agent.augment(part))
            noises.append(agent.update_noise(part))
            agent.updates += 1
        if agent.config.agent == "augmented":
            batch = Batch(*(torch.cat(pieces, 1) for pieces in zip(*parts, strict=True)))
        noise = torch.stack(noises)
        key = (count, batch.observation.shape)
        if key not in self._graphs:
            self._graphs[key] = _Graph(agent, self._gradient, batch, noise)
        self._latest = self._graphs[key]
        self._latest.run(batch, noise)
        agent.refresh()


class Autograd:
    """Fills an agent's gradient buffer by autograd, compiled where that is asked for and works."""

    def __init__(self, agent: SAC) -> None:
        self.agent = agent
        self._compiled = agent.config.compile
        self._metrics: Metrics = {}
        self._losses: Callable[[Batch, Tensor], tuple[Tensor, Metrics]] = agent.losses
        if self._compiled:
            self._losses = torch.compile(agent.losses, dynamic=False)

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Derive the losses of encoded transitions."""
        self.agent.flat.gradients.zero_()
        try:
            loss, self._metrics = self._losses(batch, noise)
        except Exception as error:
            # What a missing or broken compiler raises differs between versions and platforms.
            if not self._compiled:
                raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            logger.warning("torch.compile does not work here, going on without it: %s", reason)
            self._compiled, self._losses = False, self.agent.losses
            loss, self._metrics = self._losses(batch, noise)
        torch.autograd.backward(loss)

    def metrics(self) -> Metrics:
        """Those of the last call."""
        return self._metrics


class _Graph:
    """All updates of a call as one CUDA graph over buffers of its own."""

    def __init__(self, agent: SAC, gradient: Gradient, batch: Batch, noise: Tensor) -> None:
        self.agent, self._gradient = agent, gradient
        self.batch = Batch(*(part.clone() for part in batch))
        self.noise = noise.clone()
        state = [agent.flat.values, agent.target_values]
        state += [value for held in agent.optimizer.state.values() for value in held.values()]
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
        for held, part in zip((*self.batch, self.noise), (*batch, noise), strict=True):
            held.copy_(part)
        self.graph.replay()

    def metrics(self) -> Metrics:
        """Those of the last step; the next overwrites them."""
        return self._metrics

    def _steps(self) -> None:
        for part, noise in zip(_parts(self.batch, len(self.noise)), self.noise, strict=True):
            self._gradient(part, noise)
            self.agent.descend()


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    """Split a batch for ``count`` updates into one for each."""
    size = batch.action.shape[1] // count
    for k in range(count):
        yield batch if count == 1 else Batch(*(part[:, k * size : (k + 1) * size] for part in batch))
