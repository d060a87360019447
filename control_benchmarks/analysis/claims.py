"""What results say: learning curves, scores, and the five claims with intervals.

The claims are those of Park et al., "Approximate Equivariance in Reinforcement Learning" (AISTATS 2025), put
so that an interval can answer them. A score is the mean return over training divided by 1,000: it tells
agents apart where their last returns are alike. Scores of several cells are put together as the mean over
cells of the interquartile mean over seeds.

Axes: S seeds, T evaluations, C cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_benchmarks.experiments.results import EVALUATION, GAINS, NOISE, Results
from rl_core.statistics import Interval, interquartile_mean, stratified_bootstrap

Array = NDArray[np.float64]
Cell = tuple[str, str]  # task and variant
FULL = 1000.0  # the largest return of an episode
EQUAL = 0.05  # scores closer than this count as equal
ORIGINAL = "original"


@dataclass(frozen=True)
class Curve:
    """A quantity of a run at its evaluations: frames [T] and values [S, T]."""

    frames: NDArray[Any]
    values: Array


@dataclass(frozen=True)
class Part:
    """One comparison that a claim rests on: what is compared, its interval, and its answer."""

    label: str
    interval: Interval
    answer: str


@dataclass(frozen=True)
class Claim:
    """A claim with its answer, ``"yes"``, ``"no"`` or ``"undecided"``, and what it rests on."""

    letter: str
    text: str
    answer: str
    parts: tuple[Part, ...]


class Study:
    """All runs of a folder, by cell and agent; a run without an evaluation counts as absent."""

    def __init__(self, results: Iterable[Results]) -> None:
        self.runs: dict[tuple[str, str, str], Results] = {}
        for run in results:
            if any(True for _ in run.of_kind(EVALUATION)):
                self.runs[run.header["task"], run.header["variant"], run.header["agent"]] = run

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Tasks and variants of which there are runs, originals first."""
        found = {(task, variant) for task, variant, _ in self.runs}
        return tuple(sorted(found, key=lambda cell: (cell[0], cell[1] != ORIGINAL, cell[1])))

    @property
    def agents(self) -> tuple[str, ...]:
        """Agents of which there are runs, in the order of the suites."""
        from control_benchmarks.experiments.suites import AGENTS

        there = {agent for _, _, agent in self.runs}
        return tuple(agent for agent in AGENTS if agent in there)

    def run(self, cell: Cell, agent: str) -> Results | None:
        """Return the run of a cell and agent, if there is one."""
        return self.runs.get((*cell, agent))

    def common(self, agents: Sequence[str], *, originals: bool | None = None) -> tuple[Cell, ...]:
        """Return cells of which each of some agents has a run; of originals or variants alone if asked."""
        return tuple(
            cell
            for cell in self.cells
            if all((*cell, agent) in self.runs for agent in agents)
            and (originals is None or (cell[1] == ORIGINAL) == originals)
        )


def curve(run: Results, quantity: str = "returns") -> Curve:
    """Return a quantity of a run at the evaluations that all its seeds have; episodes are averaged."""
    seeds = run.header["seeds"]
    found: dict[int, dict[int, float]] = {}
    for line in run.of_kind(EVALUATION):
        value = 0.0 if line[quantity] is None else line[quantity]
        found.setdefault(line["frames"], {})[line["seed"]] = float(np.mean(value))
    frames = sorted(f for f, values in found.items() if len(values) == len(seeds))
    values = np.array([[found[f][seed] for f in frames] for seed in seeds], dtype=np.float64)
    return Curve(np.array(frames, dtype=np.int64), values.reshape(len(seeds), len(frames)))


def scores(run: Results, *, frames: int | None = None) -> Array:
    """Return each seed's mean return over training divided by 1,000, up to some frames [S]."""
    found = curve(run)
    kept = found.values if frames is None else found.values[:, found.frames <= frames]
    result: Array = kept.mean(axis=1) / FULL
    return result


def last_returns(run: Results) -> Array:
    """Return each seed's mean return at the last evaluation [S]."""
    return curve(run).values[:, -1]


def noise_returns(run: Results) -> tuple[Array, Array]:
    """Return the levels [L] of test-time noise and returns under them [S, L]; empty where there are none."""
    seeds = run.header["seeds"]
    found = {(line["seed"], line["level"]): float(np.mean(line["returns"])) for line in run.of_kind(NOISE)}
    levels = sorted({level for _, level in found})
    return np.array(levels), np.array([[found[seed, level] for level in levels] for seed in seeds])


def relaxations(run: Results) -> dict[str, Array]:
    """Return, for each layer of actor and critic, how unequal the last relaxed weights are [S]."""
    lines = list(run.of_kind(GAINS))
    last = max((line["frames"] for line in lines), default=0)
    seeds = run.header["seeds"]
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        if line["frames"] == last:
            layer = f"{line['network']} {line['layer']}"
            found.setdefault(layer, {})[line["seed"]] = line["relaxation"]
    return {layer: np.array([values[seed] for seed in seeds]) for layer, values in found.items()}


def mean_difference(
    first: Sequence[Array], second: Sequence[Array], *, generator: np.random.Generator
) -> Interval:
    """Mean over cells of the difference of interquartile means over seeds, with a 95 % interval.

    Parameters
    ----------
    first, second
        For each cell, a score a seed [S]; the numbers of seeds may differ.
    generator
        Draws the bootstrap, stratified by cell.
    """
    estimate = np.mean(
        [interquartile_mean(a) - interquartile_mean(b) for a, b in zip(first, second, strict=True)]
    )
    draws = np.mean(
        [_draws(a, generator) - _draws(b, generator) for a, b in zip(first, second, strict=True)],
        axis=0,
    )
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))


def claims(study: Study, *, seed: int = 0) -> tuple[Claim, ...]:
    """Answer claims (a) to (e); those without results are left out.

    Parameters
    ----------
    study
        The runs.
    seed
        Seed of the bootstrap.
    """
    generator = np.random.default_rng(seed)
    found = [
        _symmetric(study, generator),
        _broken(study, generator),
        _overall(study, generator),
        _weights(study, generator),
        _noise(study, generator),
    ]
    return tuple(claim for claim in found if claim.parts)


def _draws(values: Array, generator: np.random.Generator) -> Array:
    return stratified_bootstrap(values[:, None], generator=generator)


def _difference(
    study: Study, first: str, second: str, generator: np.random.Generator, originals: bool | None = None
) -> Interval | None:
    cells = study.common([first, second], originals=originals)
    pairs = [(study.runs[*cell, first], study.runs[*cell, second]) for cell in cells]
    if not pairs:
        return None
    # Runs that were cut off are compared over the frames that both have.
    frames = [int(min(curve(a).frames[-1], curve(b).frames[-1])) for a, b in pairs]
    return mean_difference(
        [scores(a, frames=f) for (a, _), f in zip(pairs, frames, strict=True)],
        [scores(b, frames=f) for (_, b), f in zip(pairs, frames, strict=True)],
        generator=generator,
    )


def _above(label: str, interval: Interval | None) -> list[Part]:
    """Return the part that says whether a difference is above zero."""
    if interval is None:
        return []
    answer = "yes" if interval.low > 0 else "no" if interval.high < 0 else "undecided"
    return [Part(label, interval, answer)]


def _near(label: str, interval: Interval | None) -> list[Part]:
    """Return the part that says whether a difference is nearly zero."""
    if interval is None:
        return []
    if max(-interval.low, interval.high) < EQUAL:
        answer = "yes"
    else:
        answer = "no" if interval.low > EQUAL or interval.high < -EQUAL else "undecided"
    return [Part(label, interval, answer)]


def _claim(letter: str, text: str, parts: Sequence[Part]) -> Claim:
    """Return a claim that holds where all its parts do, and fails where one does."""
    answers = {part.answer for part in parts}
    answer = "no" if "no" in answers else "yes" if answers == {"yes"} else "undecided"
    return Claim(letter, text, answer, tuple(parts))


def _symmetric(study: Study, generator: np.random.Generator) -> Claim:
    parts = [
        *_near(
            f"relaxed less exact, within {EQUAL:g}", _difference(study, "relaxed", "exact", generator, True)
        ),
        *_above("relaxed less dense, above 0", _difference(study, "relaxed", "dense", generator, True)),
        *_above("exact less dense, above 0", _difference(study, "exact", "dense", generator, True)),
    ]
    return _claim("a", "On symmetric tasks relaxed is as good as exact, and both are above dense", parts)


def _broken(study: Study, generator: np.random.Generator) -> Claim:
    difference = _difference(study, "relaxed", "exact", generator, False)
    return _claim(
        "b", "On variants relaxed is above exact", _above("relaxed less exact, above 0", difference)
    )


def _overall(study: Study, generator: np.random.Generator) -> Claim:
    others = [agent for agent in study.agents if agent not in ("relaxed", "exact")]
    parts = [
        part
        for agent in others
        for part in _above(f"relaxed less {agent}, above 0", _difference(study, "relaxed", agent, generator))
    ]
    return _claim("c", "Relaxed is above every other baseline overall", parts)


def _weights(study: Study, generator: np.random.Generator) -> Claim:
    """Compare each variant's relaxed weights, averaged over the layers of a seed, with its original's.

    Layers of one seed were trained together, so the bootstrap draws seeds, not layers.
    """
    first: list[Array] = []
    second: list[Array] = []
    for cell in study.common(["relaxed"], originals=False):
        original = study.run((cell[0], ORIGINAL), "relaxed")
        if original is None:
            continue
        broken, whole = relaxations(study.runs[*cell, "relaxed"]), relaxations(original)
        layers = [layer for layer in whole if layer in broken]
        if layers:
            first.append(np.mean([broken[layer] for layer in layers], axis=0))
            second.append(np.mean([whole[layer] for layer in layers], axis=0))
    if not first:
        return _claim("d", "", [])
    difference = mean_difference(first, second, generator=generator)
    text = "Relaxed weights of variants differ more over the group than those of the originals"
    return _claim("d", text, _above("variants less originals, above 0", difference))


def noise_loss(run: Results) -> Array | None:
    """Return what each seed loses under noise, averaged over levels, as a share of 1,000 [S]."""
    levels, returns = noise_returns(run)
    if len(levels) < 2 or levels[0] != 0:
        return None
    result: Array = (returns[:, :1] - returns[:, 1:]).mean(axis=1) / FULL
    return result


def _noise(study: Study, generator: np.random.Generator) -> Claim:
    parts = []
    for agent in study.agents:
        losses = [
            (noise_loss(study.runs[*cell, agent]), noise_loss(study.runs[*cell, "relaxed"]))
            for cell in study.common(["relaxed", agent])
        ]
        whole = [(a, b) for a, b in losses if a is not None and b is not None]
        if agent != "relaxed" and whole:
            difference = mean_difference([a for a, _ in whole], [b for _, b in whole], generator=generator)
            parts += _above(f"loss of {agent} less that of relaxed, above 0", difference)
    return _claim("e", "Relaxed loses least under noise at test time", parts)
