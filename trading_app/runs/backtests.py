"""Saved backtests of runs: the agent, its seeds and the baselines, with the evidence.

The layout of the files is described in `trading_app.runs.run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from equitrade.atomic import atomic_path, atomic_write
from trading_app.backtesting.results import BatchResult
from trading_app.backtesting.summary import evidence
from trading_app.files import RunError, now, read_parquet, to_json
from trading_app.runs.run import Run

WHAT_IF = "what-if"
FILES = ("metrics.json", "equity.parquet", "weights.parquet", "trades.parquet", "costs.parquet")


@dataclass(frozen=True)
class SavedBacktest:
    """A backtest written by `save_backtest`; frames are read on access.

    ``path`` is the run's directory or that of a what-if backtest; ``document`` is the content of ``metrics.json``
    (`trading_app.backtesting.summary`).
    """

    path: Path
    document: Mapping[str, Any] = field(repr=False)

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names of the strategies, the agent first, then its seeds, then the baselines."""
        order = {"agent": 0, "seed": 1, "baseline": 2}
        entries = self.document["strategies"].items()
        return tuple(name for name, _ in sorted(entries, key=lambda item: order[item[1]["kind"]]))

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Value of each account at each close, date × strategy."""
        frame = read_parquet(self.path / "equity.parquet")
        return frame.set_index("date") if "date" in frame.columns else frame

    @cached_property
    def returns(self) -> pd.DataFrame:
        """Returns from close to close, date × strategy; 0 after ruin."""
        return self.equity.pct_change().iloc[1:].fillna(0.0)

    def weights(self, strategy: str) -> pd.DataFrame:
        """Holdings of one strategy, date × symbol."""
        return self._part("weights.parquet", strategy).set_index("date")

    def trades(self, strategy: str) -> pd.DataFrame:
        """Trades of one strategy, a row each."""
        return self._part("trades.parquet", strategy)

    def costs(self, strategy: str) -> pd.DataFrame:
        """Components of one strategy's profit, and its turnover, by date."""
        return self._part("costs.parquet", strategy).set_index("date")

    def _part(self, file: str, strategy: str) -> pd.DataFrame:
        if strategy not in self.document["strategies"]:
            known = ", ".join(self.strategies)
            raise RunError(
                f"strategy {strategy!r} not found in the backtest of {self.path.name!r}; available: {known}"
            )
        frame = read_parquet(self.path / file, [("strategy", "==", strategy)])
        return frame.drop(columns="strategy").reset_index(drop=True)


def save_backtest(
    run: Run,
    results: BatchResult,
    *,
    folder: Path | None = None,
    data_hash: str | None = None,
    notes: Sequence[str] = (),
    **options: Any,
) -> SavedBacktest:
    """Write the backtest of a run: of ``agent``, ``seed-0`` … and baselines, under the same prices, dates and costs.

    An earlier backtest and its report are replaced. A what-if backtest has another folder than the run's. Hash and
    notes are added to the evidence; options are as of `trading_app.backtesting.summary.evidence`.
    """
    document = evidence(results, **options)
    document["data"]["hash"] = data_hash
    document["notes"] += notes
    for name in ("agreement", "sizing"):
        document[name] = list(run.manifest.get(name, ()))
    document["created_at"] = now()
    folder = run.path if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    # metrics.json marks a complete backtest: it is removed first and written last.
    for stale in ("metrics.json", "report.html"):
        (folder / stale).unlink(missing_ok=True)
    for file, frame in _frames(results).items():
        with atomic_path(folder / file) as temporary:
            frame.to_parquet(temporary, index=False, compression="zstd")
    atomic_write(folder / "metrics.json", to_json(document))
    return SavedBacktest(folder, document)


def load_backtest(run: Run) -> SavedBacktest:
    """Open the last backtest of a run. Raises `RunError` if there is none, or a file of it is missing."""
    document = run.metrics
    if document is None:
        run.require_finished()
        raise RunError(f"run {run.name!r} has no backtest yet; run `equitrade backtest {run.name}`")
    for file in FILES:
        if not (run.path / file).is_file():
            raise RunError(f"run {run.name!r}: {file} is missing; backtest it again")
    return SavedBacktest(run.path, document)


def _frames(results: BatchResult) -> dict[str, pd.DataFrame]:
    reserved = {"strategy", "date"} & set(results.panel.symbols)
    if reserved:
        raise RunError(f"symbol {reserved.pop()!r} has the name of a column of weights.parquet; rename it")
    weights, trades, costs = [], [], []
    for name in results.names:
        result = results.strategy(name)
        weights.append(_labelled(result.weights.rename_axis("date").reset_index(), name))
        trades.append(_labelled(result.trades, name))
        book = result.costs.assign(turnover=result.turnover)
        costs.append(_labelled(book.rename_axis("date").reset_index(), name))
    return {
        "equity.parquet": results.equity.rename_axis("date").reset_index(),
        "weights.parquet": _stacked(weights),
        "trades.parquet": _stacked(trades),
        "costs.parquet": _stacked(costs),
    }


def _labelled(frame: pd.DataFrame, strategy: str) -> pd.DataFrame:
    frame = frame.copy()
    frame.insert(0, "strategy", strategy)
    return frame


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    # An empty frame (a strategy without trades) has untyped columns, which would change the types of the others.
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled or frames[:1], ignore_index=True)
