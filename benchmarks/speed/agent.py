"""Time of a gradient update of agents on sets of assets, beside our dense agent with as many parameters.

The trading agent (default settings, 20 assets, windows of 32 × 8 features, batch 128) is long-only (assets can be
exchanged) or long-short (the market can be mirrored as well). The agents of the planted market train ten seeds. Relaxed
and exact agents also run with the gradients of autograd. Before timing, all gradients are compared with autograd's.
The sources of the trading agent's batches are timed by `benchmarks.speed.transitions`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness import RepeatsOption, SaveOption, alternate, finish, gradient_difference, ratio
from benchmarks.speed import transitions
from equitrade.console import JsonOption
from rl_core.experience.replay import Batch
from rl_core.relaxation import EVERY

app = typer.Typer(help="Updates of agents on sets of assets, beside our dense agent and autograd.")

ASSETS, WINDOW, FEATURES, BATCH = 20, 32, 8, 128
PLANTED_SEEDS = 10
REACH = 2.5
"""Largest time of the relaxed trading agent, as a multiple of the dense one's."""

SPEEDUP = 1.25
"""Least time of autograd's gradient, as a multiple of the fused one's."""

AUTOGRAD = ", autograd"
"""Suffix of the contenders whose gradients autograd computes."""

EVIDENCE = "relaxed, evidence"
"""The relaxed agent whose freedom evidence decides; the other relaxed contenders are free."""

EVIDENCE_REACH = 1.25
"""Largest time of its update, as a multiple of the free one's."""

WIDE = 128
"""Width of further agents, beside those of the default width."""


def trading_pair(mirror: bool, width: int | None = None) -> dict[str, Any]:
    """Return a relaxed trading agent, with either gradient, and a dense one with as many parameters; each with a batch.

    The mirror is part of the symmetry of long-short accounts. The width is that of the relaxed agent's layers, by
    default that of the trading agent.
    """
    from rl_core.networks import Shape, matching_width
    from trading_app.experiments.config import trading_learner
    from trading_app.market.encoding import market_symmetry

    # Features (odd and even alternate), own weight, three features of the whole market, net exposure.
    parity = [1, -1] * (WINDOW * FEATURES // 2) + [-1, 1, 1, 1, -1]
    symmetry = market_symmetry(parity, ASSETS, mirror=mirror)
    settings = trading_learner().replace(agent="relaxed", relaxation="free", batch_size=BATCH)
    if width is not None:
        settings = settings.replace(width=width)
    width = matching_width(
        "dense", symmetry, Shape.of(settings), reference="relaxed", ensemble=settings.ensemble
    )
    dense = settings.replace(agent="dense", width=width)
    evidence = _agent(symmetry, settings.replace(relaxation="evidence"), 1)
    return {**_both_gradients(symmetry, settings, 1), EVIDENCE: evidence, "dense": _agent(symmetry, dense, 1)}


def planted_agents() -> dict[str, Any]:
    """Return the agents of the planted market with all seeds, each with a batch."""
    from benchmarks.learning.planted.cells import Cell
    from trading_app.synthetic.planted import planted_symmetry
    from trading_app.synthetic.planted_problem import PlantedConfig

    symmetry = planted_symmetry(PlantedConfig().assets)
    settings = {name: Cell("main", name, 0.0, 0.0).config("cpu") for name in ("relaxed", "exact", "dense")}
    return {
        **_both_gradients(symmetry, settings["relaxed"], PLANTED_SEEDS),
        EVIDENCE: _agent(symmetry, settings["relaxed"].replace(relaxation="evidence"), PLANTED_SEEDS),
        **_both_gradients(symmetry, settings["exact"], PLANTED_SEEDS),
        "dense": _agent(symmetry, settings["dense"], PLANTED_SEEDS),
    }


def _both_gradients(symmetry: Any, settings: Any, seeds: int) -> dict[str, Any]:
    return {
        settings.agent: _agent(symmetry, settings, seeds),
        settings.agent + AUTOGRAD: _agent(symmetry, settings.replace(gradient="autograd"), seeds),
    }


def _count(agent: Any) -> int:
    return int(agent.actor.parameter_count() + agent.config.ensemble * agent.critic.parameter_count())


def _agent(symmetry: Any, settings: Any, seeds: int) -> tuple[Any, Any]:
    """Return an agent and a batch of normally distributed numbers."""
    from rl_core.sac import SAC

    agent = SAC(symmetry, settings, range(seeds))
    source = torch.Generator().manual_seed(1)
    lead = (seeds, settings.batch_size)
    rewards = (*lead, symmetry.rows) if settings.row_values else lead
    observations = torch.randn(2, *lead, symmetry.rows, symmetry.observation.dimension, generator=source)
    batch = Batch(
        observations[0],
        torch.randn(*lead, symmetry.rows, generator=source).tanh(),
        torch.randn(*rewards, generator=source),
        torch.full(lead, settings.gamma),
        observations[1],
    )
    return agent, batch


def run(repeats: int = 9, inner: int = EVERY) -> dict[str, Any]:
    """Time the updates alternately; return rows with median milliseconds, and ratios taken round by round.

    `inner` are the updates in one timing: a multiple of those between two looks for evidence.
    """
    groups = {
        "trading, long-only": trading_pair(mirror=False),
        "trading, long-short": trading_pair(mirror=True),
        f"trading, long-only, width {WIDE}": trading_pair(mirror=False, width=WIDE),
        f"planted, {PLANTED_SEEDS} seeds": planted_agents(),
    }
    agents = {(group, kind): one for group, members in groups.items() for kind, one in members.items()}
    largest = max(gradient_difference(agent, batch) for agent, batch in agents.values())
    if largest > 1e-4:
        raise RuntimeError(f"the gradients differ by {largest:.2e} of their size: not the same task")
    turns = {" | ".join(key): updates(agent, batch, inner) for key, (agent, batch) in agents.items()}
    taken = alternate(turns, repeats)
    seconds = {key: [value / inner for value in taken[" | ".join(key)]] for key in agents}
    rows = [
        {
            "task": group,
            "agent": kind,
            "width": agents[group, kind][0].config.width,
            "parameters_of_a_seed": _count(agents[group, kind][0]),
            "milliseconds": 1e3 * statistics.median(values),
            "lowest": 1e3 * min(values),
            "highest": 1e3 * max(values),
        }
        for (group, kind), values in seconds.items()
    ]
    task = {"assets": ASSETS, "window": WINDOW, "features": FEATURES, "batch": BATCH}
    return {
        "task": task,
        "largest_difference": largest,
        "repeats": repeats,
        "rows": rows,
        "ratios": _ratios(seconds),
        "speedups": _speedups(seconds),
        "evidence": _evidence(seconds),
    }


def _ratios(seconds: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    """Return medians of each agent's time over that of the dense one in the same round."""
    return [
        {
            "task": group,
            "agent": kind,
            "over": "dense",
            "ratio": ratio(values, seconds[group, "dense"]),
            "reach": REACH if group in ("trading, long-only", "trading, long-short") else None,
        }
        for (group, kind), values in seconds.items()
        if kind != "dense" and not kind.endswith(AUTOGRAD)
    ]


def _evidence(seconds: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    """Return medians of the time with evidence over that without in the same round."""
    return [
        {
            "task": group,
            "ratio": ratio(values, seconds[group, "relaxed"]),
            "reach": EVIDENCE_REACH,
        }
        for (group, kind), values in seconds.items()
        if kind == EVIDENCE
    ]


def _speedups(seconds: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    """Return medians of the time with autograd over that with the fused gradient in the same round."""
    return [
        {
            "task": group,
            "agent": kind.removesuffix(AUTOGRAD),
            "ratio": ratio(values, seconds[group, kind.removesuffix(AUTOGRAD)]),
            "reach": SPEEDUP,
        }
        for (group, kind), values in seconds.items()
        if kind.endswith(AUTOGRAD)
    ]


def updates(agent: Any, batch: Any, count: int) -> Callable[[], None]:
    """Return a function that takes updates of an agent."""

    def take() -> None:
        for _ in range(count):
            agent.update(batch)

    return take


@app.command()
def agent(
    repeats: RepeatsOption = 9,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    as_json: JsonOption = False,
    save: SaveOption = True,
) -> None:
    """Time an update of agents on sets of assets, beside our dense agent and autograd."""
    torch.set_num_threads(threads)
    result = {**run(repeats), "transitions": transitions.run(repeats)}
    finish("agent", result, _lines(result), as_json=as_json, save=save)


def _lines(result: dict[str, Any]) -> Iterator[str]:
    for row in result["rows"]:
        name = f"{row['task']}: {row['agent']}, width {row['width']}"
        yield f"{name:52}{row['parameters_of_a_seed']:9,} parameters{row['milliseconds']:9.1f} ms"
    for row in result["ratios"]:
        goal = "" if row["reach"] is None else f"  (reach at most {row['reach']})"
        yield f"{row['task']}: {row['agent']} over dense {row['ratio']:.2f}{goal}"
    for row in result["speedups"]:
        text = f"{row['task']}: {row['agent']}, autograd over fused {row['ratio']:.2f}"
        yield f"{text}  (reach at least {row['reach']})"
    for row in result["evidence"]:
        yield f"{row['task']}: evidence over free {row['ratio']:.2f}  (reach at most {row['reach']})"
    for row in result["transitions"]["ratios"]:
        yield f"{row['task']}, made over stored transitions: {row['ratio']:.2f}  (reach at most {row['reach']})"
