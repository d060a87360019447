"""Learning curves and scores of a study, and the five claims about them.

The claims are those of Park et al., "Approximate Equivariance in Reinforcement Learning" (AISTATS 2025), stated so that
intervals can answer them. A score is the mean return over training divided by 1,000; it still differs between agents
whose last returns are equal. `control_benchmarks.analysis.comparisons` describes the intervals.

Axes: S seeds, T evaluations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_benchmarks.analysis.comparisons import EQUAL, Comparison, Pair, Part, answer_comparisons
from control_benchmarks.analysis.power import MOST
from control_benchmarks.experiments.results import EVALUATION, NOISE, RELAXED_WEIGHTS, Results

Array = NDArray[np.float64]
Cell = tuple[str, str]  # task and variant
FULL = 1000.0  # the largest return of an episode
ORIGINAL = "original"


@dataclass(frozen=True)
class Curve:
    """A quantity of a run at its evaluations: frames [T] and values [S, T]."""

    frames: NDArray[Any]
    values: Array


@dataclass(frozen=True)
class Claim:
    """A claim, its answer (``"yes"``, ``"no"`` or ``"undecided"``) and the comparisons that decide it."""

    letter: str
    text: str
    answer: str
    parts: tuple[Part, ...]

    @property
    def seeds_needed(self) -> int | None:
        """Seeds of each task with which its comparisons would probably decide it; None where it is decided.

        One comparison against the claim is enough to decide it; otherwise all are needed.
        """
        if self.answer != "undecided":
            return None
        against = [part.seeds_needed for part in self.parts if part.expected == "no"]
        towards = [part.seeds_needed for part in self.parts if part.expected == "yes"]
        return min(filter(None, against)) if against else max(filter(None, towards))

    @property
    def sentence(self) -> str:
        """The claim with its answer and, where it is undecided, the number of seeds that it needs."""
        sentence, needed = f"({self.letter}) {self.text}: {self.answer}", self.seeds_needed
        return sentence if needed is None else f"{sentence}, {seeds_text(needed)}"


def seeds_text(needed: int) -> str:
    """Return a number of seeds that a decision needs in words."""
    count = f"{MOST:,} or more" if needed >= MOST else f"about {needed:,}"
    return f"{count} seeds needed"


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
        from control_benchmarks.experiments.suites import agent_names

        there = {agent for _, _, agent in self.runs}
        return tuple(agent for agent in agent_names() if agent in there)

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
    lines = list(run.of_kind(RELAXED_WEIGHTS))
    last = max((line["frames"] for line in lines), default=0)
    seeds = run.header["seeds"]
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        if line["frames"] == last:
            layer = f"{line['network']} {line['layer']}"
            found.setdefault(layer, {})[line["seed"]] = line["relaxation"]
    return {layer: np.array([values[seed] for seed in seeds]) for layer, values in found.items()}


def noise_loss(run: Results) -> Array | None:
    """Return the loss of each seed under noise, averaged over levels, as a share of 1,000 [S]."""
    levels, returns = noise_returns(run)
    if len(levels) < 2 or levels[0] != 0:
        return None
    result: Array = (returns[:, :1] - returns[:, 1:]).mean(axis=1) / FULL
    return result


def claims(study: Study) -> tuple[Claim, ...]:
    """Answer claims (a) to (e); those without results are omitted."""
    generator = np.random.default_rng(0)
    found = {
        text: [c for c in comparisons if c.possible] for text, comparisons in _comparisons(study).items()
    }
    count = sum(map(len, found.values()))
    return tuple(
        _claim(letter, text, answer_comparisons(comparisons, count=count, generator=generator))
        for letter, (text, comparisons) in zip("abcde", found.items(), strict=True)
        if comparisons
    )


def _comparisons(study: Study) -> dict[str, list[Comparison]]:
    """Return the comparisons of each claim, in the order of their letters."""
    others = [agent for agent in study.agents if agent != "relaxed"]
    return {
        "On symmetric tasks relaxed is as good as exact, and both are above dense": [
            Comparison(
                f"relaxed minus exact, within {EQUAL:g}", _scores(study, "relaxed", "exact", True), equal=True
            ),
            Comparison("relaxed minus dense, above 0", _scores(study, "relaxed", "dense", True)),
            Comparison("exact minus dense, above 0", _scores(study, "exact", "dense", True)),
        ],
        "On variants relaxed is above exact": [
            Comparison("relaxed minus exact, above 0", _scores(study, "relaxed", "exact", False))
        ],
        "Relaxed is above every other baseline overall": [
            Comparison(f"relaxed minus {agent}, above 0", _scores(study, "relaxed", agent))
            for agent in others
            if agent != "exact"
        ],
        "Relaxed weights of variants differ more over the group than those of the originals": [
            Comparison("variants minus originals, above 0", _weights(study))
        ],
        "Relaxed loses least under noise at test time": [
            Comparison(f"loss of {agent} minus that of relaxed, above 0", _losses(study, agent))
            for agent in others
        ],
    }


def _claim(letter: str, text: str, parts: tuple[Part, ...]) -> Claim:
    """Return a claim that holds if all its comparisons do, and fails if one does."""
    answers = {part.answer for part in parts}
    answer = "no" if "no" in answers else "yes" if answers == {"yes"} else "undecided"
    return Claim(letter, text, answer, parts)


def _by_seed(run: Results, values: Array) -> dict[int, float]:
    return dict(zip(run.header["seeds"], values.tolist(), strict=True))


def _scores(study: Study, first: str, second: str, originals: bool | None = None) -> list[Pair]:
    """Return the scores of two agents, over the frames that both runs have."""
    pairs = []
    for cell in study.common([first, second], originals=originals):
        runs = [study.runs[*cell, agent] for agent in (first, second)]
        frames = min(int(curve(run).frames[-1]) for run in runs)
        pairs.append(Pair(cell[0], *(_by_seed(run, scores(run, frames=frames)) for run in runs)))
    return pairs


def _weights(study: Study) -> list[Pair]:
    """Return the spread of relaxed weights of each variant and its original, averaged over the layers of a seed."""
    pairs = []
    for cell in study.common(["relaxed"], originals=False):
        variant, original = study.runs[*cell, "relaxed"], study.run((cell[0], ORIGINAL), "relaxed")
        if original is None:
            continue
        spreads = relaxations(variant), relaxations(original)
        layers = [layer for layer in spreads[1] if layer in spreads[0]]
        if layers:
            means = (np.mean([spread[layer] for layer in layers], axis=0) for spread in spreads)
            sides = (_by_seed(run, mean) for run, mean in zip((variant, original), means, strict=True))
            pairs.append(Pair(cell[0], *sides))
    return pairs


def _losses(study: Study, agent: str) -> list[Pair]:
    """Return the losses under noise of an agent and of the relaxed agent."""
    pairs = []
    for cell in study.common([agent, "relaxed"]):
        runs = [study.runs[*cell, name] for name in (agent, "relaxed")]
        losses = [noise_loss(run) for run in runs]
        sides = [_by_seed(run, loss) for run, loss in zip(runs, losses, strict=True) if loss is not None]
        if len(sides) == 2:
            pairs.append(Pair(cell[0], *sides))
    return pairs
