"""Tasks of jobs: backtests, trainings, and downloads of new prices."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data import SnapshotStore
from data.errors import DataError
from equitrade.atomic import atomic_write
from equitrade.json_values import json_value
from service.core.settings import Settings
from service.models.admission import inference_files

if TYPE_CHECKING:
    import pandas as pd

    from trading_app.runs.run import Run

_OWNED = "owned.json"
_LOCK_SECONDS = 15.0


@dataclass(frozen=True)
class JobContext:
    """Settings of the service, the job's own folder (the same in every attempt), and its progress.

    `report` is called with the progress from 0 to 1 and a line about the current step.
    """

    settings: Settings
    folder: Path
    report: Callable[[float, str], None]


class BacktestResult(NamedTuple):
    """A backtest, and weights, costs and trades of the requested strategy."""

    document: Mapping[str, Any]
    equity: pd.DataFrame
    strategy: str
    weights: pd.DataFrame
    costs: pd.DataFrame
    trades: pd.DataFrame

    def members(self) -> dict[str, Any]:
        """Return the members of the job's result."""
        from trading_app.report.figures.contribution import contributions

        gains = contributions(self.weights, self.equity[self.strategy], self.trades)
        frames = {"weights": self.weights, "costs": self.costs, "contributions": gains}
        # Twelve decimals are enough for charts and sums, and halve the size.
        parts = {name: _columns(frame.round(12)) for name, frame in frames.items()}
        return {"metrics": dict(self.document), "equity": _columns(self.equity), **parts}


Task = Callable[[Mapping[str, Any], JobContext], dict[str, Any]]


def backtest(parameters: Mapping[str, Any], job: JobContext) -> dict[str, Any]:
    """Backtest a model or a run beside the baselines, or a baseline alone.

    The stored backtest of a run does not change, unless ``store`` asks for it.
    """
    job.report(0.05, "reading prices")
    found = (_backtest_baseline if "strategy" in parameters else _backtest_policy)(parameters, job)
    job.report(0.95, "storing the result")
    result: dict[str, Any] = json_value(found.members())
    return result


def train(parameters: Mapping[str, Any], job: JobContext) -> dict[str, Any]:
    """Train a run; a later attempt continues from the last checkpoint of the earlier one."""
    from trading_app.experiments.config import load_config
    from trading_app.experiments.training import train_run
    from trading_app.runs.run import open_run, runs_directory

    name = str(parameters["name"])
    resume = _own_run(name, runs_directory(job.settings.home), job.folder)
    overrides = {
        "data.name": parameters["data"],
        "data.signals": parameters.get("signals"),
        "sac.agent": parameters.get("agent"),
        "training.seeds": parameters.get("seeds"),
        "training.steps": parameters.get("steps"),
    }
    config = load_config(None, os.environ, overrides)
    if resume:
        _wait_until_free(open_run(name, job.settings.home))

    def on_progress(progress: Any) -> None:
        job.report(0.98 * progress.step / config.training.steps, f"step {progress.step}")

    run, result = train_run(config, home=job.settings.home, name=name, resume=resume, on_progress=on_progress)
    return {"run": run.name, "stopped": result.stopped}


def refresh(parameters: Mapping[str, Any], job: JobContext) -> dict[str, Any]:
    """Download a snapshot again with the same options, up to the newest prices.

    The new version is served from the next request on; without changes there is no new version.
    """
    from data.providers.fetch_options import FetchHooks, FetchOptions
    from data.providers.yahoo import fetch

    store = SnapshotStore(job.settings.home)
    name = str(parameters["snapshot"]).partition("@")[0]
    provider = store.open(name).manifest["provider"]
    if provider["name"] != "yfinance":
        raise DataError(f"snapshot {name!r} came from {provider['name']!r} and cannot be downloaded again")
    known = {field.name for field in fields(FetchOptions)} - {"end", "symbols"}
    options = {key: value for key, value in provider["options"].items() if key in known}
    symbols = tuple(provider["options"]["symbols"])

    def on_progress(symbol: str, done: int, count: int, outcome: str) -> None:
        job.report(0.95 * done / count, f"{symbol}: {outcome}")

    snapshot, _ = fetch(
        name,
        FetchOptions(symbols=symbols, **options),
        store,
        hooks=FetchHooks(on_progress=on_progress),
    )
    return {
        "snapshot": snapshot.reference,
        "written": snapshot.written,
        "differences": list(snapshot.differences[:100]),
    }


TASKS: dict[str, Task] = {"backtest": backtest, "training": train, "refresh": refresh}


def _backtest_policy(parameters: Mapping[str, Any], job: JobContext) -> BacktestResult:
    from trading_app.backtesting.summary import AGENT
    from trading_app.experiments.out_of_sample import backtest_run
    from trading_app.runs.run import open_run

    stored = parameters.get("store", False)
    run = open_run(parameters["run"], job.settings.home) if stored else _copy_of_run(parameters, job)
    job.report(0.1, "deciding day by day")
    saved = backtest_run(
        run,
        home=job.settings.home,
        data=parameters.get("data"),
        start=parameters.get("start"),
        end=parameters.get("end"),
        costs_bps=parameters.get("costs_bps"),
    )
    parts = saved.weights(AGENT), saved.costs(AGENT), saved.trades(AGENT)
    return BacktestResult(saved.document, saved.equity, AGENT, *parts)


def _backtest_baseline(parameters: Mapping[str, Any], job: JobContext) -> BacktestResult:
    from service.decisions.snapshots import Snapshots
    from trading_app.backtesting.backtest import backtest as run_backtest
    from trading_app.backtesting.baselines import Terms, baseline_targets
    from trading_app.backtesting.summary import evidence
    from trading_app.experiments.config import load_config
    from trading_app.experiments.out_of_sample import with_costs

    name, start, end = str(parameters["strategy"]), parameters.get("start"), parameters.get("end")
    prices = Snapshots(job.settings.home).get(parameters["data"])
    config = load_config(None, os.environ)
    costs = with_costs(config.costs, parameters.get("costs_bps"))
    weights = baseline_targets(name, prices, start, end, Terms(config.market, costs))
    results = run_backtest(
        prices,
        {name: weights},
        costs=costs,
        start=start,
        end=end,
        fill=config.market.fill,
        delist_after=config.market.delist_after,
        delisting_return=config.market.delisting_return,
        partial_orders=True,
    )
    result = results.strategy(name)
    paid = result.costs.assign(turnover=result.turnover)
    return BacktestResult(evidence(results), results.equity, name, result.weights, paid, result.trades)


def _copy_of_run(parameters: Mapping[str, Any], job: JobContext) -> Run:
    """Return a copy of the run in the job's folder, so that the run's own evidence does not change."""
    from trading_app.files import read_json
    from trading_app.runs.run import Run

    if "model" in parameters:
        source = job.settings.models / parameters["model"] / parameters["version"]
    else:
        source = job.settings.home / "runs" / parameters["run"]
    target = job.folder / str(parameters.get("model") or parameters["run"])  # the name in messages
    shutil.rmtree(target, ignore_errors=True)
    for name in inference_files(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return Run(target, read_json(target / "manifest.json"))


def _own_run(name: str, runs: Path, folder: Path) -> bool:
    """Return whether an earlier attempt of this job began the run; the first attempt claims its name."""
    mark = folder / _OWNED
    if mark.exists():
        return (runs / name / "manifest.json").exists()
    if (runs / name).exists():
        raise DataError(f"run {name!r} already exists; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(mark, json.dumps({"run": name}))
    return False


def _wait_until_free(run: Run) -> None:
    # The process of the previous attempt may need a moment to notice that it was given up.
    until = time.monotonic() + _LOCK_SECONDS
    while run.status == "training" and time.monotonic() < until:
        time.sleep(0.2)


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    values = {str(name): column.astype(float).tolist() for name, column in frame.items()}
    return {"dates": [str(day.date()) for day in frame.index], "values": values}
