"""Data of a report, read from the run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from trading_app.backtesting.summary import AGENT
from trading_app.report.figures.backtest import BacktestView
from trading_app.report.figures.contribution import contributions
from trading_app.runs.backtests import load_backtest
from trading_app.runs.run import Run, fold_path


@dataclass(frozen=True)
class ReportData:
    """Content of a report.

    ``manifest`` is that of the run (`trading_app.runs.run`), ``document`` its evidence
    (`trading_app.backtesting.summary`), ``config_text`` its configuration as TOML. ``equity`` is the value of each
    account, date × strategy, the agent first, then its seeds, then the baselines. ``weights`` (date × symbol),
    ``costs`` (profit components and turnover, by date) and ``trades`` are those of the subject. ``progress`` has the
    lines of the training's progress, with a column ``fold`` for a walk-forward run.
    """

    name: str
    manifest: Mapping[str, Any] = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)
    equity: pd.DataFrame = field(repr=False)
    weights: pd.DataFrame = field(repr=False)
    costs: pd.DataFrame = field(repr=False)
    progress: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    config_text: str = field(repr=False, default="")
    trades: pd.DataFrame | None = field(repr=False, default=None)

    @property
    def subject(self) -> str:
        """The strategy reported on: the agent, or the first strategy without one."""
        strategies = self.document["strategies"]
        return AGENT if AGENT in strategies else str(next(iter(strategies)))

    @property
    def reference(self) -> str | None:
        """The baseline that the headlines compare with; None without one."""
        reference = self.document.get("reference")
        return None if reference == self.subject else reference

    @property
    def folds(self) -> list[Mapping[str, Any]]:
        """Dates of each fold by part, or of the one split; empty without training."""
        folds = self.manifest.get("folds") or [self.manifest.get("split") or {}]
        return [fold for fold in folds if fold]

    @property
    def view(self) -> BacktestView:
        """The strategy reported on, over the whole backtest, for figures."""
        gains = pd.DataFrame()
        if self.trades is not None:
            gains = contributions(self.weights, self.equity[self.subject], self.trades)
        return self.view_of(self.subject, self.weights, self.costs, gains)

    def view_of(
        self, strategy: str, weights: pd.DataFrame, costs: pd.DataFrame, gains: pd.DataFrame
    ) -> BacktestView:
        """Return the view of one strategy over the whole backtest."""
        reference = self.document.get("reference")
        return BacktestView(
            document=self.document,
            strategy=strategy,
            reference=None if reference == strategy else reference,
            equity=self.equity,
            weights=weights,
            costs=costs,
            gains=gains,
            totals=self.document["strategies"][strategy]["totals"],
            folds=self.folds,
        )

    @property
    def notes(self) -> list[str]:
        """Notes of the prices and of the backtest, each once."""
        prices = self.manifest.get("data", {}).get("notes", [])
        return list(dict.fromkeys([*prices, *self.document.get("notes", [])]))


def training_progress(run: Run) -> pd.DataFrame:
    """Return the rows of a run's progress; those of a walk-forward run have a column ``fold``."""
    folds = run.manifest.get("folds") or ()
    parts = [Run(fold_path(run.path, k), {}).progress().assign(fold=k) for k in range(1, len(folds) + 1)]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else run.progress()


def load_report_data(run: Run) -> ReportData:
    """Read a backtested run; RunError if it has no backtest, or a file is missing or damaged."""
    saved = load_backtest(run)
    subject = AGENT if AGENT in saved.strategies else saved.strategies[0]
    return ReportData(
        name=run.name,
        manifest=run.manifest,
        document=saved.document,
        equity=saved.equity[list(saved.strategies)],
        weights=saved.weights(subject),
        costs=saved.costs(subject),
        progress=training_progress(run),
        config_text=run.config_text,
        trades=saved.trades(subject),
    )
