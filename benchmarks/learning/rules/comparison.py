"""Rules of relaxation side by side, on the planted markets, with seeds that no reported result uses.

``equitrade bench relaxation-rules`` and ``python -P -m benchmarks.learning.rules.comparison`` are the same command. A
cell (rule, market) trains its seeds at once and is stored as one JSON file when it is done. The criterion is the worst
market: how far a rule stays behind the best rule there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness import machine
from benchmarks.learning.hard_planted import FLOOR
from benchmarks.learning.hard_planted import Cell as HardCell
from benchmarks.learning.planted.cells import SETTINGS
from benchmarks.learning.planted.figures import floored, load
from benchmarks.learning.rules.contenders import register_contenders
from benchmarks.learning.scoring import EPISODES, PERIODS, train_and_score
from equitrade.atomic import atomic_write
from equitrade.console import JsonOption, print_json, run_command, say
from rl_core.config import SACConfig
from rl_core.env import BatchedEnv
from trading_app.synthetic.planted import PlantedMarket
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_problem import PlantedConfig
from trading_app.synthetic.planted_score import PlantedScore

__all__ = ["MARKETS", "app", "summary"]

RESULTS = Path(__file__).resolve().parents[2] / "results" / "relaxation_rules"
SEEDS = (100, 101, 102)
EVALUATIONS = 5


def _unlimited(breaking: float) -> tuple[BatchedEnv, PlantedConfig, SACConfig, int]:
    """Market with unlimited data and little noise: stored transitions, one value for all assets."""
    config = PlantedConfig().broken(exchange=breaking, mirror=breaking)
    env = PlantedMarket(config, seeds=SEEDS, n_envs=8, reward_scale=0.1)
    return env, config, SACConfig.from_dict({**SETTINGS, "agent": "relaxed"}), 1250


def _history(market: str) -> tuple[BatchedEnv, PlantedConfig, SACConfig, int]:
    """Market with a short noisy history: made transitions, a value of each asset."""
    cell = HardCell("relaxed", market, 3.0, 2500)
    env = PlantedHistory(cell.config, periods=cell.periods, seeds=SEEDS, reward_scale=0.1)
    return env, cell.config, cell.learner(), cell.updates


MARKETS: dict[str, Callable[[], tuple[BatchedEnv, PlantedConfig, SACConfig, int]]] = {
    "unlimited-intact": lambda: _unlimited(0.0),
    "unlimited-both": lambda: _unlimited(1.0),
    "history-intact": lambda: _history("intact"),
    "history-both": lambda: _history("both"),
    "history-local": lambda: _history("local"),
}


def run_cell(rule: str, market: str) -> dict[str, Any]:
    """Train and score one rule on one market."""
    env, problem, config, updates = MARKETS[market]()
    score, started = PlantedScore(problem, episodes=EPISODES, periods=PERIODS), time.perf_counter()
    config = config.replace(relaxation=rule)
    # The first update follows the step that completes the random start.
    before = 0 if config.transitions == "made" else config.learning_starts // 8 - 1
    steps = before + updates
    every = steps // EVALUATIONS
    trained = train_and_score(env, score, config, SEEDS, steps=steps, every=every, log_every=steps)
    return {
        "rule": rule,
        "market": market,
        "seeds": list(SEEDS),
        "learner": config.to_dict(),
        "curve": trained.curve,
        "share": trained.share,
        "seconds": time.perf_counter() - started,
        "machine": machine(),
    }


def summary(records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each rule: mean share by market, and the worst distance from the best rule of a market."""
    shares: dict[str, dict[str, float]] = {}
    for record in records.values():
        mean = float(floored(record["share"], FLOOR).mean())
        shares.setdefault(record["rule"], {})[record["market"]] = mean
    best = {market: max([own.get(market, FLOOR) for own in shares.values()] or [FLOOR]) for market in MARKETS}
    rows = []
    for rule, own in shares.items():
        behind = max((best[market] - share for market, share in own.items()), default=0.0)
        rows.append({"rule": rule, **own, "worst": behind, "whole": len(own) == len(MARKETS)})
    return sorted(rows, key=lambda row: (not row["whole"], row["worst"]))


app = typer.Typer(help=__doc__)


@app.command()
def relaxation_rules(
    out: Annotated[Path, typer.Option(help="Folder of the results, a JSON file a cell.")] = RESULTS,
    rules: Annotated[str, typer.Option(help="Only these rules, separated by commas.")] = "",
    markets: Annotated[str, typer.Option(help="Only these markets, separated by commas.")] = ",".join(
        MARKETS
    ),
    table_only: Annotated[bool, typer.Option("--table-only", help="Only print what is stored.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rules of relaxation side by side on planted markets."""
    known = register_contenders()
    if not table_only:
        run(out, rules.split(",") if rules else known, markets.split(","))
    rows = summary(load(out))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        shares = ", ".join(f"{market} {row[market]:.3f}" for market in MARKETS if market in row)
        say(f"{row['rule']:16s} worst {row['worst']:.3f}: {shares}")


def run(out: Path, rules: Sequence[str], markets: Sequence[str]) -> None:
    """Run the cells that are not stored yet."""
    for market in markets:
        for rule in rules:
            path = out / f"{rule}-{market}.json"
            if not path.exists():
                result = run_cell(rule, market)
                atomic_write(path, (json.dumps(result, indent=1) + "\n").encode())
                say(f"{rule} on {market}: {floored(result['share'], FLOOR).mean():.3f}")


if __name__ == "__main__":
    raise SystemExit(run_command(app))
