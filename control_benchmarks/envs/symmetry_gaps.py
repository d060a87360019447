"""Measured distance of a task or variant from its symmetry: gaps of reward and transition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from control_benchmarks.envs.physics import Simulation, copies_of
from control_benchmarks.envs.symmetry import state_symmetry, task_group
from control_benchmarks.envs.variants import Variant
from control_benchmarks.tasks.base import Array, States, Task
from rl_core.symmetry.measure import EnvironmentGaps, paired_gaps

_COPIES = 64


@dataclass(frozen=True)
class TaskGaps:
    """Gaps of a task's variant over visited states and random elements of the group.

    Attributes
    ----------
    gaps
        epsilon_R and epsilon_P of one decision; the transition's distance is that of observations.
    change
        Mean distance that a decision moves the observation: the measure to hold epsilon_P against.
    """

    gaps: EnvironmentGaps
    change: float


def element_words(task: Task) -> dict[int, tuple[str, ...]]:
    """Return, for each element of the task's group, the generators to apply one after the other."""
    group = task_group(task)
    names = {index: name for name, index in group.generators.items()}
    found: dict[int, tuple[str, ...]] = {group.identity: ()}
    for first, last in group.words(names):
        found[group.multiply(first, last)] = (names[last], *found[first])
    return found


def measure_gaps(
    task: Task, variant: Variant, *, pairs: int = 1024, seed: int = 0, action_repeat: int = 2
) -> TaskGaps:
    """Measure R(s, a) - R(gs, ga) and the distance of s' from what (gs, ga) leads to, mapped back.

    Parameters
    ----------
    task, variant
        What to measure.
    pairs
        Number of states, visited by random actions that last for some decisions, each with its own g.
    seed
        Seed of states, actions and elements.
    action_repeat
        Frames of a decision.

    Returns
    -------
    TaskGaps
        The gaps with 95 % intervals; zero to rounding where the symmetry holds.
    """
    random = np.random.default_rng(seed)
    rounds = -(-pairs // _COPIES)
    copies = copies_of(
        task,
        [variant, variant],
        [seed, seed],
        environments=range(_COPIES),
        action_repeat=action_repeat,
        stream="gaps",
    )
    simulation = Simulation(copies, copies.arrays())
    simulation.reset()
    samples = [_pair(simulation, random, step) for step in range(rounds)]
    simulation.close()
    reward, reward_moved, following, following_back, change = (
        np.concatenate(column)[:pairs] for column in zip(*samples, strict=True)
    )
    return TaskGaps(
        paired_gaps(reward, reward_moved, following, following_back, generator=random), float(change.mean())
    )


def _pair(
    simulation: Simulation, random: np.random.Generator, step: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Walk on from the first half's states, then compare one decision with its image in the second half."""
    task, arrays, half = simulation.task, simulation.arrays, _COPIES
    for _ in range(random.integers(1, 20)):
        arrays["action"][:] = random.uniform(-1, 1, arrays["action"].shape)
        simulation.step()
    arrays["action"][:] = random.uniform(-1, 1, arrays["action"].shape)
    group, words = task_group(task), element_words(task)
    observation = state_symmetry(task).observation.matrices.numpy()
    chosen = random.integers(1, group.order, half) if group.order > 1 else np.zeros(half, dtype=int)
    before = simulation.states()
    kept = arrays["physics"].copy(), arrays["frame"].copy()
    arrays["frame"][:] = 0  # no episode may end between the two
    for row, element in enumerate(chosen):
        states = States(*(x[row : row + 1] for x in (before.position, before.velocity, before.target)))
        action, previous = arrays["action"][row], arrays["previous"][row]
        for name in words[int(element)]:
            generator = task.generators[name]
            states, action, previous = (
                generator.apply(states),
                generator.action @ action,
                generator.action @ previous,
            )
        arrays["physics"][half + row, 1:] = np.concatenate([states.position[0], states.velocity[0]])
        arrays["target"][half + row] = states.target[0]
        arrays["action"][half + row], arrays["previous"][half + row] = action, previous
    here = task.observe(simulation.states())[:half]
    simulation.step()
    after = task.observe(simulation.states())
    reward = arrays["reward"].astype(np.float64)
    back = np.einsum("kij,kj->ki", observation[group.inverse.numpy()[chosen]], after[half:])
    change = np.linalg.norm(after[:half] - here, axis=1)
    arrays["frame"][:] = kept[1] % 900
    return reward[:half], reward[half:], after[:half], back, change
