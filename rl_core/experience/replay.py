"""Replay of compact observations for S seeds at once, each observation stored once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rl_core.errors import ConfigError
from rl_core.experience.blocks import day_of

__all__ = ["Batch", "Metrics", "Replay"]

# Initial share of extra rows, for observations cut off by a time limit: one for this many rows.
ROWS_PER_CUT = 64
# Steps of a block of `halves`: longer than most dynamics remember.
STEP_BLOCK = 100


Metrics = dict[str, Tensor]
"""Numbers of a gradient step by name, each [S]."""


class Batch(NamedTuple):
    """Sampled transitions of S seeds; observations compact from the replay, encoded for the learner.

    Attributes
    ----------
    observation
        ``[S, B, …]``.
    action
        ``[S, B, A]``.
    reward
        Discounted sum of the n-step rewards up to an episode's end, ``[S, B]``; made transitions may have those of
        each row, ``[S, B, N]``.
    discount
        Factor of the next observation's value: γⁿ, or 0 beyond a termination, ``[S, B]``.
    next_observation
        ``[S, B, …]``; at a time limit the observation before the reset.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_observation: Tensor

    def split(self, count: int) -> Iterator[Batch]:
        """Parts of equal size along the second axis, one for each of ``count`` gradient steps."""
        size = self.action.shape[1] // count
        for k in range(count):
            yield self if count == 1 else Batch(*(part[:, k * size : (k + 1) * size] for part in self))


class Replay:
    """A ring of environment steps; row t + 1 holds the observation that follows row t.

    Only an observation at which a time limit cut an episode has no row of its own; it goes to extra rows
    behind the ring, as many as needed, at which a pointer points. Nothing here waits for the device, except once in
    many steps to check that the extra rows suffice.

    Parameters
    ----------
    observation
        The first observations ``[S, n_envs, *observation_shape]``; their dtype and device are the storage's.
    action_size
        A.
    capacity
        Transitions stored for each seed, rounded up to whole steps of the n_envs environments.
    gamma, n_step
        Discount of a step, and rewards summed.
    halves
        Sample the halves of a batch from steps that do not overlap, so that `rl_core.relaxation` can compare their
        gradients.
    """

    def __init__(
        self,
        observation: Tensor,
        action_size: int,
        *,
        capacity: int,
        gamma: float,
        n_step: int = 1,
        halves: bool = False,
    ) -> None:
        s, n = observation.shape[:2]
        device = observation.device
        self.capacity = max(-(-capacity // n), n_step)
        self.rows = self.capacity + 1
        self.gamma, self.n_step, self.halves = gamma, n_step, halves
        self.steps = 0
        self._extra = min(self.rows, self.rows // ROWS_PER_CUT + 8)
        self._extra_bound = 0
        shape = (s, self.rows + self._extra, n, *observation.shape[2:])
        self.observation = torch.empty(shape, dtype=observation.dtype, device=device)
        # The numbers of a step lie side by side, so that a sample reads them at once.
        self._numbers = torch.empty((s, self.rows, n, action_size + 2), device=device)
        self.action = self._numbers[..., :action_size]
        self.reward, self._discount = self._numbers[..., action_size:].unbind(3)
        self.terminated = torch.empty((s, self.rows, n), dtype=torch.bool, device=device)
        self.truncated = torch.empty((s, self.rows, n), dtype=torch.bool, device=device)
        # The row of the next observation times n, plus the environment.
        self._next_place = torch.empty((s, self.rows, n), dtype=torch.int64, device=device)
        self.cuts = torch.zeros((s, n), dtype=torch.int64, device=device)
        self._seed = torch.arange(s, device=device)[:, None]
        self._env = torch.arange(n, device=device)[None, :]
        self._ahead = torch.arange(n_step, device=device)[:, None, None]
        self._powers = gamma ** torch.arange(n_step + 1, device=device, dtype=torch.float32)
        self.observation[:, 0] = observation

    @property
    def oldest(self) -> int:
        """The first step that is stored."""
        return max(0, self.steps - self.capacity)

    def __len__(self) -> int:
        """Number of stored transitions of each seed."""
        return (self.steps - self.oldest) * self.action.shape[2]

    def add(
        self,
        action: Tensor,
        observation: Tensor,
        reward: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        final_observation: Tensor,
    ) -> None:
        """Store a step from the latest observation: the action and the environment's outcome."""
        if self._extra_bound >= self._extra:
            self._make_room()
        row, following = self.steps % self.rows, (self.steps + 1) % self.rows
        cut = truncated & ~terminated
        extra = self.rows + self.cuts.remainder(self._extra)
        self.action[:, row] = action
        self.reward[:, row] = reward
        self.terminated[:, row] = terminated
        self.truncated[:, row] = truncated
        self._discount[:, row] = torch.where(terminated, 0.0, self.gamma)
        self._next_place[:, row] = self._place(torch.where(cut, extra, following))
        # Written whether cut or not: where it is not, the next cut overwrites it.
        self.observation[self._seed, extra, self._env] = final_observation
        self.observation[:, following] = observation
        self.cuts += cut
        self._extra_bound += 1
        self.steps += 1

    def sample(self, numbers: Tensor) -> Batch:
        """Return the transitions that random 62-bit integers ``[S, B]`` choose, uniformly, with replacement.

        Raises
        ------
        ConfigError
            If fewer than n_step steps are stored.
        """
        n = self.action.shape[2]
        starts = self.steps - self.oldest - self.n_step + 1
        if starts < 1:
            raise ConfigError(f"the replay holds {self.steps} steps, fewer than n_step = {self.n_step}")
        seeds, size = numbers.shape
        chosen = self._in_halves(numbers, starts) if self.halves else numbers.remainder(starts * n)
        # Where a step and an environment lie among the rows of a seed.
        place = (chosen + self.oldest * n).remainder(self.rows * n) if self.oldest else chosen
        here = place if seeds == 1 else self._seed * (self.rows * n) + place
        found = _take(self._numbers, here)
        action, (reward, discount) = found[..., :-2], found[..., -2:].unbind(2)
        last = here
        if self.n_step > 1:
            first = chosen.div(n, rounding_mode="floor") + self.oldest
            last, reward, horizon = self._sum_rewards(self._seed * self.rows, first, chosen.remainder(n))
            discount = torch.where(_take(self.terminated, last), 0.0, horizon)
        both = torch.cat([place, _take(self._next_place, last)], dim=1)
        if seeds > 1:
            both += self._seed * (self.observation.shape[1] * n)
        observations = _take(self.observation, both)
        return Batch(observations[:, :size], action, reward, discount, observations[:, size:])

    def _in_halves(self, numbers: Tensor, starts: int) -> Tensor:
        """Step times n plus environment [S, B], the steps of both halves from blocks apart."""
        n = self.action.shape[2]
        step = day_of(numbers.double() / 2.0**62, starts, STEP_BLOCK)
        return step * n + numbers.remainder(n)

    def _place(self, row: Tensor) -> Tensor:
        """Positions of rows ``[…, n]``, counted environment by environment."""
        return torch.add(self._env, row, alpha=row.shape[-1])

    def _sum_rewards(self, seed: Tensor, first: Tensor, env: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum n discounted rewards up to an end: the last step's place, the sum, γ to the number of steps."""
        places = (seed + (first + self._ahead).remainder(self.rows)) * self.action.shape[2] + env
        done = (self.terminated | self.truncated).view(-1)[places]
        before = torch.cat([torch.zeros_like(done[:1]), done[:-1]]).cumsum(0)
        going = before == 0
        reward = (self.reward.flatten()[places] * going * self._powers[:-1, None, None]).sum(0)
        count = going.sum(0)
        last = places.gather(0, count[None] - 1)[0]
        return last, reward, self._powers[count]

    def rows_between(self, start: int, stop: int) -> dict[str, Tensor]:
        """Copy the steps from ``start`` to ``stop`` (absolute numbers, still stored), for a checkpoint."""
        row = self._ring(start, stop)
        arrays = {name: getattr(self, name)[:, row] for name in (*_ARRAYS, "observation")}
        next_row = self._next_place[:, row].div(self._env.shape[1], rounding_mode="floor")
        return {
            **arrays,
            "next_row": next_row.to(torch.int32),
            "final": self.observation[self._behind(next_row)],
        }

    def load_rows(self, start: int, stop: int, arrays: Mapping[str, Tensor]) -> None:
        """Put back what `rows_between` gave."""
        row = self._ring(start, stop)
        for name in (*_ARRAYS, "observation"):
            getattr(self, name)[:, row] = arrays[name].to(self.action.device)
        self._discount[:, row] = torch.where(self.terminated[:, row], 0.0, self.gamma)
        next_row = arrays["next_row"].to(self.action.device).long()
        self._next_place[:, row] = self._place(next_row)
        self.observation[self._behind(next_row)] = arrays["final"].to(self.observation.device)

    def _behind(self, next_row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Seed, row and environment of the observations behind the ring."""
        seed, step, env = torch.nonzero(next_row >= self.rows, as_tuple=True)
        return seed, next_row[seed, step, env], env

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counters and the latest observation: with the rows, the whole state."""
        latest = self.observation[:, self.steps % self.rows]
        return {
            "steps": torch.tensor(self.steps),
            "extra": torch.tensor(self._extra),
            "cuts": self.cuts,
            "latest": latest.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back the counters and the latest observation; load the rows after it."""
        self.steps = int(state["steps"])
        self._grow(int(state["extra"]) - self._extra)
        self.cuts = state["cuts"].to(self.cuts.device)
        self._extra_bound = int(self.cuts.max())
        self.observation[:, self.steps % self.rows] = state["latest"].to(self.observation.device)

    def _ring(self, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop, device=self.action.device).remainder(self.rows)

    def _make_room(self) -> None:
        """Count the cuts; double the extra rows while half are taken, up to one a row, when reuse is safe."""
        self._extra_bound = int(self.cuts.max())
        if self._extra_bound >= self._extra // 2:
            self._grow(min(self._extra, self.rows - self._extra))
        if self._extra == self.rows:
            self._extra_bound = -(1 << 62)

    def _grow(self, more: int) -> None:
        if more > 0:
            s, _, *rest = self.observation.shape
            room = self.observation.new_empty((s, more, *rest))
            self.observation = torch.cat([self.observation, room], dim=1)
            self._extra += more


_ARRAYS = ("action", "reward", "terminated", "truncated")


def _take(values: Tensor, places: Tensor) -> Tensor:
    """Values [S, rows, n, …] at positions [S, B], counted environment by environment."""
    taken = values.flatten(0, 2).index_select(0, places.view(-1))
    return taken.view(*places.shape, *values.shape[3:])
