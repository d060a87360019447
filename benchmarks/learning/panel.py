"""Trading a planted signal of realistic size: agents beside a plug-in that knows the form of the forecast.

A world is a simulated panel of prices with one signal (`equitrade data planted`): daily R² 0.5 %, half-life of five
sessions, slopes that differ between assets, costs of 10 basis points of the value traded. Agents are trained with the
defaults of `equitrade train --signals` and backtested on dates that neither training nor validation have seen.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.harness import machine
from equitrade.atomic import atomic_write
from equitrade.console import JsonOption, print_json, print_table, say

app = typer.Typer(help=__doc__)
RESULTS = Path(__file__).resolve().parents[1] / "results" / "planted_panel"
R2, HALF_LIFE, SESSIONS = 0.005, 5.0, 2520
COSTS = {"costs.commission_bps": 8.0, "costs.half_spread_bps": 2.0}
REFERENCES = ("equal-weight", "plug-in")
"""Baselines of the same backtest: what an agent starts from, and what knows the form of the forecast."""


def run_world(world: int, agent: str, assets: int, heterogeneity: float, seeds: int) -> dict[str, Any]:
    """Train on a world and return net Sharpe ratios, turnovers and active returns on its test dates."""
    from data.providers.planted import PanelConfig, save_planted
    from trading_app.experiments.config import load_config
    from trading_app.experiments.out_of_sample import backtest_run
    from trading_app.experiments.training import train_run

    started = time.perf_counter()
    panel = PanelConfig(
        assets=assets, sessions=SESSIONS, r2=R2, half_life=HALF_LIFE, heterogeneity=heterogeneity, seed=world
    )
    with tempfile.TemporaryDirectory(prefix="equitrade-panel-") as folder:
        home = Path(folder)
        save_planted("world", panel, home)
        settings = {"data.name": "world", "data.signals": ["world"], "sac.agent": agent, **COSTS}
        config = load_config(None, {}, {**settings, "training.seeds": seeds})
        run, _ = train_run(config, home=home, name="world")
        document = backtest_run(run, home=home).document
    chosen = {
        name: document["strategies"][name]["metrics"]
        for name in document["strategies"]
        if name in ("agent", *REFERENCES) or name.startswith("seed-")
    }
    return {
        "world": world,
        "agent": agent,
        "assets": assets,
        "heterogeneity": heterogeneity,
        "seeds": seeds,
        "dates": [document["start"], document["end"]],
        "agreement": [row["correlation"] for row in document["agreement"]],
        "sizing": document["sizing"],
        "sharpe": {name: values["sharpe"] for name, values in chosen.items()},
        "turnover": {name: values["turnover"] for name, values in chosen.items()},
        "above_reference": document["above_reference"]["estimates"],
        "settings": config.sac.to_dict(),
        "seconds": time.perf_counter() - started,
        "machine": machine(),
    }


def compare(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each kind of world and agent: Sharpe ratios, means over worlds with 95 % t intervals."""
    rows = []
    places = sorted({(r["assets"], r["heterogeneity"], r["agent"]) for r in records})
    exact = {
        (r["assets"], r["heterogeneity"], r["world"]): r["sharpe"]["agent"]
        for r in records
        if r["agent"] == "exact"
    }
    for assets, heterogeneity, agent in places:
        mine = [
            r
            for r in records
            if (r["assets"], r["heterogeneity"], r["agent"]) == (assets, heterogeneity, agent)
        ]
        row: dict[str, Any] = {
            "assets": assets,
            "heterogeneity": heterogeneity,
            "agent": agent,
            "worlds": len(mine),
        }
        own = np.array([r["sharpe"]["agent"] for r in mine])
        row["sharpe"] = _interval(own)
        for name in REFERENCES:
            theirs = np.array([r["sharpe"][name] for r in mine])
            row[name] = float(theirs.mean())
            row[f"above {name}"] = _interval(own - theirs)
        row["plug-in above equal-weight"] = float(
            np.mean([r["sharpe"]["plug-in"] - r["sharpe"]["equal-weight"] for r in mine])
        )
        pairs = [(r["sharpe"]["agent"], exact.get((assets, heterogeneity, r["world"]))) for r in mine]
        if agent != "exact" and all(other is not None for _, other in pairs):
            row["above exact"] = _interval(np.array([a - b for a, b in pairs if b is not None]))
        row["turnover"] = float(np.mean([r["turnover"]["agent"] for r in mine]))
        rows.append(row)
    return rows


def _interval(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    from scipy import stats

    mean, count = float(values.mean()), len(values)
    half = float(stats.t.ppf(0.975, count - 1) * stats.sem(values)) if count > 1 else float("nan")
    return {"mean": mean, "low": mean - half, "high": mean + half}


def stored(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the stored worlds."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def text(value: Mapping[str, float]) -> str:
    """Return an interval in words."""
    return f"{value['mean']:+.2f} ({value['low']:+.2f} … {value['high']:+.2f})"


def panel_verdicts(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, bool | None]]:
    """Yield measure, result, mark, and whether it is reached (None without a mark)."""
    for row in rows:
        what = f"{row['agent']}, {row['assets']} assets, heterogeneity {row['heterogeneity']:g}, {row['worlds']} worlds"
        above, gain = row["above equal-weight"], row["plug-in above equal-weight"]
        yield f"{what}: net Sharpe above equal weight", text(above), "above 0", above["low"] > 0
        if row["agent"] == "relaxed":
            wanted = 0.9 * row["plug-in"]
            reached = row["sharpe"]["mean"] >= wanted
            yield f"{what}: net Sharpe", text(row["sharpe"]), f"≥ {wanted:.2f}, 0.9 × plug-in", reached
            if "above exact" in row:
                exact = row["above exact"]
                yield f"{what}: net Sharpe above exact", text(exact), "above 0", exact["low"] > 0
        yield (
            f"{what}: share of the plug-in's gain over equal weight",
            f"{above['mean'] / gain:.2f}",
            "",
            None,
        )
        yield f"{what}: turnover a year", f"{row['turnover']:.1f}", "", None


@app.command()
def panel(
    worlds: Annotated[int, typer.Option(min=1, help="Worlds of each kind, with seeds from 0 on.")] = 10,
    agents: Annotated[str, typer.Option(help="Agents, separated by commas.")] = "relaxed,exact",
    assets: Annotated[int, typer.Option(min=2, help="Assets of a world.")] = 20,
    heterogeneity: Annotated[
        float, typer.Option(min=0, max=1, help="How far assets differ; 0: they can be exchanged.")
    ] = 1.0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of an agent.")] = 5,
    out: Annotated[
        Path, typer.Option(help="Folder of the results, a JSON file a world and agent.")
    ] = RESULTS,
    as_json: JsonOption = False,
) -> None:
    """Train on worlds that are not stored yet, and print all that are."""
    for world in range(worlds):
        for agent in agents.split(","):
            path = out / f"{agent}-N{assets}-h{heterogeneity:g}-{world}.json"
            if path.exists():
                continue
            record = run_world(world, agent, assets, heterogeneity, seeds)
            atomic_write(path, (json.dumps(record, indent=1) + "\n").encode())
            say(f"{path.stem}: {record['sharpe']} in {record['seconds']:.0f} s")
    rows = compare(stored(out))
    if as_json:
        print_json(rows)
        return
    table = [
        [
            f"{row['assets']}, {row['heterogeneity']:g}",
            row["agent"],
            str(row["worlds"]),
            text(row["sharpe"]),
            f"{row['plug-in']:+.2f}",
            text(row["above equal-weight"]),
            text(row["above exact"]) if "above exact" in row else "",
        ]
        for row in rows
    ]
    head = [
        "assets, heterogeneity",
        "agent",
        "worlds",
        "net Sharpe",
        "plug-in",
        "above equal weight",
        "above exact",
    ]
    print_table("Net Sharpe ratio out of sample on planted panels, means over worlds", head, table)


if __name__ == "__main__":
    app()
