"""Soft actor-critic for S seeds at once (Haarnoja et al. 2018b), under whatever symmetry its networks have."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rl_core.agents import find_kind
from rl_core.checkpoint import load_parameters, load_symmetry, open_checkpoint, save_agent
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.normalization import ObservationNormalizer
from rl_core.experience.replay import Batch, Metrics
from rl_core.learner import Gradient, GraphedUpdates, Measured, choose_gradient
from rl_core.networks.base import Network
from rl_core.networks.build import build_networks
from rl_core.networks.tanh_normal import sample
from rl_core.optimizer import FlatParameters
from rl_core.precision import cast_to, product_precision
from rl_core.random import Noise
from rl_core.relaxation import Rule, make_rule
from rl_core.symmetry import Symmetry

__all__ = ["SAC", "Metrics", "load_agent"]

LOSS_METHODS = ("least", "losses", "penalty", "products", "squash", "total")
"""Methods of which fused gradients are derived: where a subclass changes one, autograd is used."""


class SAC:
    """An actor, an ensemble of critics with its target, and a temperature, for each of S seeds.

    Parameters
    ----------
    symmetry
        How the group acts on network inputs and actions.
    config
        Settings.
    seeds
        The S seeds. Seed k alone learns what it learns in a batch, to float tolerance.
    """

    def __init__(self, symmetry: Symmetry, config: SACConfig, seeds: Sequence[int]) -> None:
        self.symmetry, self.config, self.seeds = symmetry, config, tuple(seeds)
        self.kind = find_kind(config.agent)
        self.device = torch.device(config.device)
        self.dtype = cast_to(config.matmul_dtype, self.device)
        self.noise = Noise(self.seeds, self.device)
        actor, critic = build_networks(symmetry, config, self.seeds)
        self.actor, self.critic = actor.to(self.device), critic.to(self.device)
        start = torch.full((len(self.seeds),), math.log(config.initial_alpha), device=self.device)
        self.log_alpha = nn.Parameter(start)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.average = copy.deepcopy(self.actor).requires_grad_(False) if config.actor_average > 0 else None
        self._average_rate = torch.ones((), device=self.device)
        self._lay_out()
        self.target_entropy = config.target_entropy_per_dimension * symmetry.action_size
        self.updates = 0
        self.acts = 0
        self._acting: dict[bool, list[Tensor]] = {}
        self.normalizer = (
            ObservationNormalizer(symmetry, len(self.seeds), self.device)
            if config.normalize_observations
            else None
        )
        self.relaxation: Rule = make_rule(self)
        self._graphs: dict[tuple[int, torch.Size], GraphedUpdates] = {}
        self._latest: Gradient | GraphedUpdates | Measured | None = None

    @property
    def networks(self) -> dict[str, Network]:
        """All networks by name: actor, critic, target and, where there is one, the averaged actor."""
        named: dict[str, Network] = {"actor": self.actor, "critic": self.critic, "target": self.target}
        return named if self.average is None else {**named, "average": self.average}

    def _lay_out(self) -> None:
        """Put all parameters in one buffer, the target's in another, and make the optimiser."""
        c = self.config
        rates = {"actor": c.actor_lr, "critic": c.critic_lr}
        relaxed, others = {}, {}
        for name, network in self.networks.items():
            own = {id(p) for p in network.relaxed_parameters()}
            relaxed[name] = [p for p in network.parameters() if id(p) in own]
            others[name] = [p for p in network.parameters() if id(p) not in own]
        fast = {name: rate * c.relaxed_lr_multiplier for name, rate in rates.items()}
        self.flat = FlatParameters(
            [
                (fast["actor"], relaxed["actor"]),
                (rates["actor"], others["actor"]),
                (c.alpha_lr, [self.log_alpha]),
                (rates["critic"], others["critic"]),
                (fast["critic"], relaxed["critic"]),
            ]
        )
        self.critic_values = self.flat.span(self.critic.parameters())
        self.target_values = FlatParameters([(0.0, others["target"] + relaxed["target"])]).values
        self.actor_values = self.flat.span(self.actor.parameters())
        if self.average is not None:
            self.average_values = FlatParameters([(0.0, relaxed["average"] + others["average"])]).values
        self.optimizer = self.flat.adam()

    def act(self, x: Tensor, deterministic: bool = False) -> Tensor:
        """Choose actions ``[S, B, A]`` in (−1, 1) for network inputs ``[S, B, …]``.

        Deterministic ones are those of the averaged actor, where `SACConfig.actor_average` asks for one.
        """
        with torch.no_grad():
            averaged = deterministic and self.average is not None
            actor = self.average if averaged and self.average is not None else self.actor
            if averaged not in self._acting:
                self._acting[averaged] = self.products(actor.expand())
            output = actor.apply(self._acting[averaged], self.normalized(x).to(self.dtype)).float()
            if deterministic:
                return output[..., : self.symmetry.action_size].tanh()
            noise = self.noise.normal("act", self.acts, (*x.shape[1:2], self.symmetry.action_size))
            self.acts += 1
            return self.squash(output, noise)[0]

    def observe(self, x: Tensor) -> None:
        """Take network inputs ``[S, B, …]`` into the statistics that inputs are normalised by, where they are."""
        if self.normalizer is not None:
            self.normalizer.observe(x)

    def normalized(self, x: Tensor) -> Tensor:
        """Return network inputs ``[S, B, …]`` normalised as `SACConfig.normalize_observations` asks."""
        return x if self.normalizer is None else self.normalizer(x)

    def predict(self, observation: npt.ArrayLike, *, seed: int | None = None) -> npt.NDArray[np.float32]:
        """Return the deterministic actions of one seed in [−1, 1] for network inputs, as arrays.

        Parameters
        ----------
        observation
            A network input, such as a vector [O], or a batch of them [B, O].
        seed
            One of the agent's seeds; the first by default.

        Returns
        -------
        array
            [A] for one input, [B, A] for a batch.

        Raises
        ------
        ConfigError
            If the agent has no such seed, or the observation another shape.
        """
        chosen = self.seeds[0] if seed is None else seed
        if chosen not in self.seeds:
            raise ConfigError(f"seed {chosen} was not trained; the agent has {list(self.seeds)}")
        x = torch.as_tensor(np.asarray(observation, dtype=np.float32), device=self.device)
        axes, size = self.symmetry.observation_ndim, self.symmetry.observation.dimension
        axis = -1 if self.symmetry.plane is None else -axes
        fits = x.shape[axis] == size if self.symmetry.rows is None else self.symmetry.fits(x)
        if x.ndim not in (axes, axes + 1) or not fits:
            raise ConfigError(
                f"observation has shape {list(x.shape)}; {axes} axes are needed, or {axes + 1} for a batch, with "
                f"{size} numbers along axis {axis}"
            )
        batch = x if x.ndim > axes else x[None]
        actions = self.act(batch.expand(len(self.seeds), *batch.shape), deterministic=True)
        action: npt.NDArray[np.float32] = actions[self.seeds.index(chosen)].cpu().numpy()
        return action if x.ndim > axes else action[0]

    def precision(self) -> AbstractContextManager[None]:
        """Compute matrix products of float32 numbers as precisely as the settings ask."""
        return product_precision(self.config.matmul_dtype, self.device)

    def products(self, weights: Iterable[Tensor]) -> list[Tensor]:
        """Cast expanded weights to the type of the matrix products."""
        return [weight.to(self.dtype) for weight in weights]

    def squash(self, output: Tensor, noise: Tensor, presence: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn the actor's output ``[S, B, 2A]`` and normal noise into actions and their log-probabilities.

        The latter are [S, B], or with values of rows those of each row [S, B, N]. Absent rows, by their presence
        [S, B, N], do not count.
        """
        config = self.config
        bounds, rows = (config.log_std_min, config.log_std_max), config.row_values
        if presence is None:
            return sample(output, noise, *bounds, by_entry=rows)
        action, log_prob = sample(output, noise, *bounds, by_entry=True)
        log_prob = log_prob * presence
        return action, log_prob if rows else log_prob.sum(-1)

    def losses(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Metrics]:
        """Sum the losses of critics, actor and temperature over the seeds, whose gradients stay apart.

        Both losses see the weights of before the step, as in Acme, so that each network is expanded once.

        Parameters
        ----------
        batch
            Encoded transitions, normalised where the settings ask for it. Absent rows add nothing to the losses.
        noise
            Standard normal, ``[S, 2, B, A]``: for the observations, and for the next observations.
        """
        actor, critic = self.actor, self.critic
        alpha = self.log_alpha.exp().detach()
        # With values of rows every quantity of a transition has one more axis, which is summed last.
        rows = self.config.row_values
        spread = alpha[:, None, None] if rows else alpha[:, None]
        actor_weights, critic_weights = self.products(actor.expand()), self.products(critic.expand())
        s, s_next = batch.observation.to(self.dtype), batch.next_observation.to(self.dtype)
        present, present_next = (self.presence(x) for x in (batch.observation, batch.next_observation))

        with torch.no_grad():
            output = actor.apply(actor_weights, s_next).float()
            a_next, log_prob_next = self.squash(output, noise[:, 1], present_next)
            q_next = self.least(self._q(self.products(self.target.expand()), s_next, a_next, present_next))
            discount = batch.discount[..., None] if rows else batch.discount
            y = batch.reward + discount * (q_next - spread * log_prob_next)
            y = y * present if rows and present is not None else y

        q = self._q(critic_weights, s, batch.action, present)
        critic_loss = 0.5 * self.total((q - y[:, None]).square().sum(1)).mean(-1)

        a, log_prob = self.squash(actor.apply(actor_weights, s).float(), noise[:, 0], present)
        frozen = [weight.detach() for weight in critic_weights]
        q_actor = self.least(self._q(frozen, s, a, present))
        actor_loss = self.total(spread * log_prob - q_actor).mean(-1)

        entropy = -self.total(log_prob.detach()).mean(-1)
        share = 1.0 if present is None else present.mean((1, 2))
        alpha_loss = self.log_alpha * (entropy - self.target_entropy * share)
        loss = critic_loss.sum() + actor_loss.sum() + alpha_loss.sum()
        if self.config.relaxed_penalty > 0:
            loss = loss + self.config.relaxed_penalty * self.penalty()
        values = {"critic_loss": critic_loss, "actor_loss": actor_loss, "q": self.total(q[:, 0]).mean(-1)}
        metrics = {name: value.detach() for name, value in values.items()}
        return loss, {**metrics, "entropy": entropy, "alpha": alpha}

    def _q(self, weights: Sequence[Tensor], x: Tensor, action: Tensor, presence: Tensor | None) -> Tensor:
        """Q values [S, E, B], or of rows [S, E, B, N], those of absent rows 0."""
        q = self.critic.apply(weights, self.critic.pack(x, action.to(self.dtype))).float()
        return q * presence[:, None] if presence is not None and self.config.row_values else q

    def presence(self, x: Tensor) -> Tensor | None:
        """Return the presence of rows [S, B, N] in network inputs, None where all are present."""
        presence = self.symmetry.split_presence(x)[1]
        return None if presence is None else presence.squeeze(-1)

    def values(self, x: Tensor, action: Tensor) -> Tensor:
        """Return Q values ``[S, E, B]`` of network inputs and actions ``[S, B, A]``, summed over rows."""
        return self.total(self.critic(self.critic.pack(self.normalized(x), action)))

    def least(self, q: Tensor) -> Tensor:
        """Return the smallest of the ensemble's values [S, B]; of rows [S, B, N] those of the smallest sum."""
        if not self.config.row_values:
            return q.amin(1)
        member = q.sum(-1, keepdim=True).argmin(1, keepdim=True)
        return q.gather(1, member.expand(-1, -1, -1, q.shape[-1]))[:, 0]

    def total(self, x: Tensor) -> Tensor:
        """Return the sum over rows, where there are values of rows."""
        return x.sum(-1) if self.config.row_values else x

    def penalty(self) -> Tensor:
        """Sum of the distances of all networks from symmetry (for rpp, of their priors)."""
        return self.actor.penalty().sum() + self.critic.penalty().sum()

    def update(self, batch: Batch, count: int = 1) -> None:
        """Take gradient steps; `metrics` returns those of the last one.

        Parameters
        ----------
        batch
            Encoded transitions ``[S, count · B, …]``.
        count
            Gradient steps, each on its part of the batch.
        """
        batch = batch._replace(
            observation=self.normalized(batch.observation),
            next_observation=self.normalized(batch.next_observation),
        )
        with self.precision():
            if self.config.cuda_graph and self.device.type == "cuda":
                self._update_by_graph(batch, count)
                return
            for part in batch.split(count):
                self._set_rates()
                part, noise = self.augment(part), self.update_noise(part)
                self.relaxation.prepare(part, noise)
                self.gradient(part, noise)
                self.relaxation.correct()
                self.descend()
                self.updates += 1
        self._latest = self.gradient

    def ascend(self, objective: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> Tensor:
        """Take a gradient step of the actor along an objective of its deterministic policy; critics stay.

        Parameters
        ----------
        objective
            Returns the value of a policy, a function from network inputs [S, B, …] to actions [S, B, A], for each seed
            [S].

        Returns
        -------
        Tensor
            Value before the step [S].
        """
        self._set_rates()
        self.flat.gradients.zero_()
        with self.precision():
            weights = self.products(self.actor.expand())

            def policy(x: Tensor) -> Tensor:
                self.observe(x.detach())
                output = self.actor.apply(weights, self.normalized(x).to(self.dtype)).float()
                return output[..., : self.symmetry.action_size].tanh()

            value = objective(policy)
            loss = self.config.relaxed_penalty * self.actor.penalty().sum() - value.sum()
            torch.autograd.backward(loss)
        self._latest = Measured({"objective": value.detach()})
        self.descend()
        self.updates += 1
        return value.detach()

    def _set_rates(self) -> None:
        """Set the rates of the coming update.

        That of the averaged actor is that of the plain mean, until the setting is slower.
        """
        length = self.config.anneal_updates
        if length:
            self.optimizer.scale(max(0.0, 1.0 - self.updates / length))
        if self.average is not None:
            self._average_rate.fill_(max(1.0 - self.config.actor_average, 1.0 / (1.0 + self.updates)))

    def metrics(self) -> Metrics:
        """Return the metrics of the last gradient step, each ``[S]``; empty before the first.

        They are computed now, so read them before the next step.
        """
        return {} if self._latest is None else self._latest.metrics()

    @cached_property
    def gradient(self) -> Gradient:
        """Strategy that fills the gradient buffer; parameters must stay where they are in memory."""
        own = any(getattr(type(self), name) is not getattr(SAC, name) for name in LOSS_METHODS)
        return choose_gradient(self, own_losses=own)

    def _update_by_graph(self, batch: Batch, count: int) -> None:
        """Take all steps as one CUDA graph, captured for each shape of batch."""
        self._set_rates()
        parts, noises = [], []
        for part in batch.split(count):
            parts.append(self.augment(part))
            noises.append(self.update_noise(part))
            self.updates += 1
        if self.kind.augments:
            batch = Batch(*(torch.cat(pieces, 1) for pieces in zip(*parts, strict=True)))
        self.relaxation.prepare(parts[0], noises[0])
        noise = torch.stack(noises)
        key = (count, batch.observation.shape)
        if key not in self._graphs:
            self._graphs[key] = GraphedUpdates(self, self.gradient, batch, noise)
        self._latest = self._graphs[key]
        self._graphs[key].run(batch, noise)
        self.refresh()

    def descend(self) -> None:
        """Step along the gradients in the buffer, and let the target follow the critic."""
        self.optimizer.step()
        self.relaxation.settle()
        self._decay_relaxed_weights()
        self.target_values.lerp_(self.critic_values, self.config.tau)
        if self.average is not None:
            self.average_values.lerp_(self.actor_values, self._average_rate)
        self.refresh()

    def _decay_relaxed_weights(self) -> None:
        """Decay relaxed weights towards symmetry, apart from the loss: how far they get does not depend on its size."""
        c = self.config
        if c.relaxed_decay > 0:
            for network, rate in ((self.actor, c.actor_lr), (self.critic, c.critic_lr)):
                network.decay_relaxed_weights(min(1.0, c.relaxed_decay * c.relaxed_lr_multiplier * rate))

    def save(self, directory: str | Path) -> Path:
        """Write a checkpoint for inference to ``directory/checkpoints/step-…``; return that folder."""
        return save_agent(self, Path(directory))

    @staticmethod
    def load(directory: str | Path, *, device: str = "cpu") -> SAC:
        """Load the agent of the newest checkpoint.

        Parameters
        ----------
        directory
            Directory of a training, or the folder of one checkpoint.
        device
            Where to put it, whatever it was trained on.

        Raises
        ------
        ConfigError
            If there is no checkpoint, or it is damaged or of a later format; the message names the file.
        """
        folder, document = open_checkpoint(directory)
        config = SACConfig.from_dict({**document["config"], "device": device})
        agent = SAC(load_symmetry(folder, document), config, document["seeds"])
        load_parameters(agent, folder, document)
        return agent

    def refresh(self) -> None:
        """Drop values derived from the parameters; call after changing them from outside."""
        self._acting.clear()

    def update_noise(self, batch: Batch) -> Tensor:
        """Return the noise ``[S, 2, B, A]`` of the coming update."""
        return self.noise.normal("update", self.updates, (2, *batch.action.shape[1:]))

    def augment(self, batch: Batch) -> Batch:
        """Move each transition by a random group element, for the agent that learns symmetry from data."""
        if not self.kind.augments:
            return batch
        size = batch.action.shape[1]
        numbers = self.noise.uniform("augment", self.updates, (size, self.symmetry.random_size))
        g = self.symmetry.element(numbers)
        return batch._replace(
            observation=self.symmetry.transform_observation(g, batch.observation),
            action=self.symmetry.transform_action(g, batch.action),
            next_observation=self.symmetry.transform_observation(g, batch.next_observation),
        )


def load_agent(directory: str | Path, *, device: str = "cpu") -> SAC:
    """Load the agent of the newest checkpoint, as `SAC.load`."""
    return SAC.load(directory, device=device)
