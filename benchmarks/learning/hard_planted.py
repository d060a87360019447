"""Share of the optimum on the hard planted market: finite histories with the noise of daily data.

``equitrade bench hard-planted`` and ``python -P -m benchmarks.learning.hard_planted`` are the same command. Each cell
(agent, market, noise, length of history) trains all its seeds at once and is stored as one JSON file when it is done.

Settings were chosen on seeds 100 to 103 of the same markets; seeds from 1000 on are reported.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from benchmarks.harness import machine
from benchmarks.learning.planted.figures import floored, load, share_interval
from benchmarks.learning.scoring import EPISODES, PERIODS, train_and_score
from equitrade.atomic import atomic_write
from equitrade.console import JsonOption, print_json, run_command, say
from rl_core.config import SACConfig
from rl_core.statistics import Interval
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_plug_in import plug_in
from trading_app.synthetic.planted_problem import Feedback, PlantedConfig
from trading_app.synthetic.planted_score import PlantedScore

__all__ = ["Cell", "app", "cells", "compare", "hard_verdicts", "run", "run_cell", "text"]

RESULTS = Path(__file__).resolve().parents[1] / "results" / "hard_planted"
FIRST_SEED = 1000
FLOOR = -1.0
"""A share below this counts as this, so that a diverged seed can be averaged."""
# Exchange, mirror, share of assets that deviate, threshold of the drift.
MARKETS: dict[str, tuple[float, float, float, float | None]] = {
    "intact": (0.0, 0.0, 1.0, None),
    "both": (1.0, 1.0, 1.0, None),
    "exchange": (1.0, 0.0, 1.0, None),
    "mirror": (0.0, 1.0, 1.0, None),
    "local": (1.0, 1.0, 0.25, 1.0),
}
# Noise and length of history, the usual ones of daily data first.
DATA = ((3.0, 2500), (1.0, 2500), (3.0, 1000), (3.0, 10_000), (1.0, 1000), (1.0, 10_000))
COMMON: dict[str, Any] = {
    "depth": 2,
    "activation": "silu",
    "alpha_lr": 3e-3,
    "initial_alpha": 0.1,
    "batch_size": 256,
    "transitions": "made",
    "row_values": True,
    "actor_average": 0.99,
    "anneal_updates": 1000,
}
RELAXED: dict[str, Any] = {
    "agent": "relaxed",
    "width": 64,
    "banks": 3,
    "bank_start": "first",
    "relaxation": "evidence",
    "actor_lr": 3e-3,
    "critic_lr": 1e-2,
    "relaxed_lr_multiplier": 2.0,
}
AGENTS: dict[str, dict[str, Any]] = {
    "relaxed": RELAXED,
    "exact": {"agent": "exact", "width": 64, "actor_lr": 3e-3, "critic_lr": 1e-2},
    "dense": {"agent": "dense", "width": 256, "actor_lr": 3e-3, "critic_lr": 3e-3},
    "free": {**RELAXED, "relaxation": "free"},
    "gated": {"agent": "gated", "width": 64, "actor_lr": 3e-3, "critic_lr": 1e-2},
}
LOCAL_ONLY = ("gated",)
"""Agents for symmetries that are broken in a part of the states or assets."""


@dataclass(frozen=True)
class Cell:
    """One training of all seeds."""

    agent: str
    market: str
    noise: float
    periods: int
    updates: int = 1000
    assets: int = 8

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.agent}-{self.market}-sigma{self.noise:g}-T{self.periods}"

    @property
    def config(self) -> PlantedConfig:
        """The market."""
        exchange, mirror, share, threshold = MARKETS[self.market]
        broken = PlantedConfig(assets=self.assets, return_noise=self.noise).broken(
            exchange=exchange, mirror=mirror
        )
        return replace(broken, exchange_share=share, mirror_threshold=threshold)

    def learner(self) -> SACConfig:
        """The agent's settings."""
        return SACConfig.from_dict({**COMMON, "anneal_updates": self.updates, **AGENTS[self.agent]})


def run_cell(cell: Cell, seeds: Sequence[int]) -> dict[str, Any]:
    """Train and score one cell; the plug-in is scored on the same histories.

    Returns
    -------
    dict
        ``share`` and ``plug_in``, the share of the optimum of each seed, and ``curve``, shares by updates.
    """
    env = PlantedHistory(cell.config, periods=cell.periods, seeds=tuple(seeds), reward_scale=0.1)
    score = PlantedScore(cell.config, episodes=EPISODES, periods=PERIODS)
    config, started = cell.learner(), time.perf_counter()
    trained = train_and_score(env, score, config, seeds, steps=cell.updates, every=250, log_every=250)
    return {
        "cell": asdict(cell),
        "learner": config.to_dict(),
        "seeds": list(seeds),
        "curve": trained.curve,
        "share": trained.share,
        "plug_in": plug_in_shares(env, score),
        "seconds": time.perf_counter() - started,
        "machine": machine(),
    }


def plug_in_shares(env: PlantedHistory, score: PlantedScore) -> list[float]:
    """Return the share of the plug-in policy of each seed's history."""
    shares = []
    for signals, returns in zip(env.signals.double().numpy(), env.returns.double().numpy(), strict=True):
        best = plug_in(env.config, signals[:-1], returns)
        shares.append(float(score.share(partial(_position_share, best, env.config.max_position)).squeeze()))
    return shares


def _position_share(policy: Feedback, unit: float, observation: Tensor) -> Tensor:
    return policy(observation) / unit


def cells(markets: Sequence[str] = tuple(MARKETS), agents: Sequence[str] = tuple(AGENTS)) -> Iterator[Cell]:
    """Yield cells, those of the marks first: the usual noise and length, both symmetries intact and broken."""
    for noise, periods in DATA:
        for market in markets:
            # Other markets and kinds of agents are held against each other at the usual noise and length only.
            usual = (noise, periods) == DATA[0]
            for agent in agents:
                wanted = usual or (market in ("intact", "both") and agent != "free")
                if agent in LOCAL_ONLY:
                    wanted = usual and market == "local"
                if wanted:
                    yield Cell(agent, market, noise, periods)


def run(out: Path, chosen: Sequence[Cell], seeds: int, *, budget: float | None = None) -> None:
    """Run the cells that are not stored yet."""
    started = time.monotonic()
    for cell in chosen:
        path = out / f"{cell.name}.json"
        if path.exists() or (budget is not None and time.monotonic() - started > budget):
            continue
        result = run_cell(cell, range(FIRST_SEED, FIRST_SEED + seeds))
        atomic_write(path, (json.dumps(result, indent=1) + "\n").encode())
        say(f"{cell.name}: {text(interval(result['share']))} in {result['seconds']:.0f} s")


def interval(values: Sequence[float]) -> Interval:
    """Return the interquartile mean over seeds with its 95 % interval."""
    return share_interval(values, FLOOR)


def text(value: Interval, *, signed: bool = False) -> str:
    """Return an estimate with its interval in words."""
    sign = "+" if signed else ""
    return f"{value.estimate:{sign}.3f} ({value.low:{sign}.3f} … {value.high:{sign}.3f})"


def compare(records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each stored cell: its share, the plug-in's, and the paired difference from the exact agent."""
    rows = []
    for name, record in records.items():
        cell = record["cell"]
        row = {
            **{key: cell[key] for key in ("market", "noise", "periods", "agent")},
            "share": interval(record["share"]),
            "plug_in": interval(record["plug_in"]),
        }
        exact = records.get(name.replace(f"{cell['agent']}-", "exact-", 1))
        if exact is not None and cell["agent"] != "exact" and exact["seeds"] == record["seeds"]:
            difference = floored(record["share"], FLOOR) - floored(exact["share"], FLOOR)
            row["above_exact"] = interval(difference.tolist())
        rows.append(row)
    return sorted(rows, key=lambda row: (row["market"], row["noise"], row["periods"], row["agent"]))


def hard_verdicts(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the marks whose cells are stored: measure, result, mark, and whether it is reached."""
    by_cell = {(row["market"], row["noise"], row["periods"], row["agent"]): row for row in rows}
    for (market, noise, periods, agent), row in by_cell.items():
        place = f"σ {noise:g}, {periods:,} periods"
        above = row.get("above_exact")
        if agent == "relaxed" and above is not None and market == "intact":
            yield (
                f"relaxed less exact, symmetries intact, {place}",
                f"{above.estimate:+.3f}",
                "≥ −0.02",
                above.estimate >= -0.02,
            )
        if agent == "relaxed" and above is not None and (market, noise, periods) == ("both", *DATA[0]):
            yield (
                f"relaxed less exact, both broken, {place}",
                f"{above.estimate:+.3f}",
                "≥ +0.15",
                above.estimate >= 0.15,
            )
            ratio = row["share"].estimate / row["plug_in"].estimate
            yield f"relaxed over plug-in, both broken, {place}", f"{ratio:.3f}", "≥ 0.95", ratio >= 0.95
        dense = by_cell.get((market, noise, periods, "dense"))
        if agent == "relaxed" and dense is not None:
            difference = row["share"].estimate - dense["share"].estimate
            yield f"relaxed less dense, {market}, {place}", f"{difference:+.3f}", "≥ 0", difference >= 0


app = typer.Typer(help=__doc__)


@app.command()
def hard_planted(
    out: Annotated[Path, typer.Option(help="Folder of the results, a JSON file a cell.")] = RESULTS,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds trained together in each cell.")] = 10,
    markets: Annotated[str, typer.Option(help="Only these markets, separated by commas.")] = ",".join(
        MARKETS
    ),
    agents: Annotated[str, typer.Option(help="Only these agents, separated by commas.")] = ",".join(AGENTS),
    budget: Annotated[float | None, typer.Option(help="Start no cell after this many seconds.")] = None,
    table_only: Annotated[bool, typer.Option("--table-only", help="Only print what is stored.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Share of the optimum on the hard planted market."""
    if not table_only:
        run(out, list(cells(markets.split(","), agents.split(","))), seeds, budget=budget)
    rows = compare(load(out))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        above = f", above exact by {text(row['above_exact'], signed=True)}" if "above_exact" in row else ""
        say(
            f"{row['market']:9s} σ {row['noise']:g} T {row['periods']:6,d} {row['agent']:8s} {text(row['share'])}"
            f" (plug-in {text(row['plug_in'])}){above}"
        )


if __name__ == "__main__":
    raise SystemExit(run_command(app))
