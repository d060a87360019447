"""Contents of the page *Symmetry*: the stored tests of a market, and the relaxed weights and errors of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import DataError
from rl_core.errors import ConfigError
from service.dashboard.figures import PageFigure, themed
from service.dashboard.views.run import without_backtest
from trading_app.evaluation.labels import format_number
from trading_app.experiments.equivariance import (
    RelaxedWeights,
    load_equivariance,
    recorded_deviations,
    relaxed_weights,
)
from trading_app.report.figures import symmetry as symmetry_figures
from trading_app.runs.run import Run


@dataclass(frozen=True)
class SymmetryView:
    """Choices in the address: run, hash of the market's prices, raw weights or relative to their bank, seed."""

    run: str | None = None
    market: str | None = None
    weights: str = "relative"
    seed: int | None = None

    @property
    def query(self) -> dict[str, str | None]:
        """The members of the address that figures depend on."""
        return {
            "run": self.run,
            "market": self.market,
            "weights": None if self.weights == "relative" else self.weights,
            "seed": None if self.seed is None else str(self.seed),
        }


@dataclass(frozen=True)
class MarketSymmetry:
    """Stored tests of a market: their document, a sentence on each symmetry, and figures."""

    document: Mapping[str, Any]
    findings: tuple[str, ...]
    figures: tuple[PageFigure, ...]


@dataclass(frozen=True)
class AgentSymmetry:
    """A run's relaxed weights and equivariance errors; what is missing is None, with the reason in `missing`."""

    run: Run
    weights: RelaxedWeights | None
    errors: Mapping[str, Any] | None
    missing: Mapping[str, str]
    findings: tuple[str, ...]
    figures: tuple[PageFigure, ...]


def market_of(
    home: Path,
    view: SymmetryView,
    agent: AgentSymmetry | None,
    stored: Sequence[Mapping[str, Any]] | None = None,
) -> MarketSymmetry | None:
    """The stored tests to show: those named, else those of the run's prices, else the newest; None without any.

    Raises `DataError` if tests are named that are not stored.
    """
    from trading_app.evaluation.market_tests import stored_tests

    found = stored_tests(home) if stored is None else stored
    if view.market is not None:
        named = next((d for d in found if d["hash"].startswith(view.market)), None)
        if named is None:
            raise DataError(
                f"no tests are stored for prices {view.market[:12]}; "
                "`equitrade symmetry --data NAME --save` stores them"
            )
        return _market(named)
    own = agent.run.manifest.get("data", {}) if agent else {}
    for key, member in (("hash", "hash"), ("data", "name")):
        for document in found:
            if document[key] == own.get(member):
                return _market(document)
    return _market(found[0]) if found else None


def read_agent(run: Run, view: SymmetryView) -> AgentSymmetry:
    """Read relaxed weights and equivariance errors of a run.

    Raises `DataError` for a seed that the run does not have.
    """
    missing: dict[str, str] = {}
    weights = _weights(run, missing)
    if view.seed is not None and view.seed not in (run.seeds or [view.seed]):
        raise DataError(f"run {run.name!r} has no seed {view.seed}; it has {', '.join(map(str, run.seeds))}")
    try:
        errors = load_equivariance(run)
    except DataError as error:
        errors, missing["errors"] = None, _without_path(error, run)
    if errors is None:
        missing.setdefault("errors", f"They are measured by a backtest: {without_backtest(run)}.")
    elif not errors["errors"]:
        errors, missing["errors"] = None, "With one asset and no mirror there is no symmetry to measure."
    figures = [*_weight_figures(run, weights, view), *_error_figures(errors)]
    return AgentSymmetry(run, weights, errors, missing, (*_moved(weights), *_answers(errors)), tuple(figures))


def _weights(run: Run, missing: dict[str, str]) -> RelaxedWeights | None:
    kind = str(run.manifest.get("agent", "this"))
    try:
        weights = relaxed_weights(run)
    except (ConfigError, DataError) as error:
        missing["weights"] = f"{_without_path(error, run)}."
        return None
    if not weights.layers:
        missing["weights"] = (
            f"Its agent is “{kind}”; only relaxed agents have them: "
            "`equitrade train --agent relaxed --data NAME` trains one."
        )
        return None
    return weights


def _without_path(error: Exception, run: Run) -> str:
    """Message of an error about a file of a run, without the server's folders."""
    return str(error).replace(f"{run.path}/", "").replace(str(run.path), run.name)


def _market(document: Mapping[str, Any]) -> MarketSymmetry:
    tests = document["tests"]
    present = [name for name in symmetry_figures.SYMMETRIES if any(t["symmetry"] == name for t in tests)]
    level = symmetry_figures.LEVEL
    findings, figures = [], []
    for name in present:
        own = [t for t in tests if t["symmetry"] == name]
        broken = sum(t["p_value"] <= level for t in own)
        label = symmetry_figures.SYMMETRIES[name]
        findings.append(
            f"{label}: the test rejects it in {broken} of {len(own)} years (p ≤ {level:g}); chance alone would "
            f"reject about {format_number(level * len(own), 'ratio', 1)}."
        )
        figures.append(
            PageFigure(
                f"market-{name}",
                f"{label} by year",
                themed(symmetry_figures.market_distance, own, name),
                partial(symmetry_figures.market_table, own),
                wide=False,
                height=280,
            )
        )
    return MarketSymmetry(document, tuple(findings), tuple(figures))


def _weight_figures(run: Run, weights: RelaxedWeights | None, view: SymmetryView) -> list[PageFigure]:
    if weights is None:
        return []
    options: dict[str, Any] = {"relative": view.weights == "relative", "seed": view.seed}
    made = [
        PageFigure(
            f"weights-{network}",
            f"Relaxed weights of the {network}",
            themed(symmetry_figures.relaxed_heatmap, weights, network, **options),
            partial(symmetry_figures.weights_table, weights, network),
        )
        for network in ("actor", "critic")
        if any(layer.startswith(f"{network} ") for layer in weights.layers)
    ]
    title = "Deviation of each layer from equivariance"
    progress = recorded_deviations(run)
    trained = len(progress) > 0 and progress["step"].nunique() > 1
    drawn, table = (
        themed(symmetry_figures.layer_deviations, weights),
        partial(symmetry_figures.layers_table, weights),
    )
    made.append(PageFigure("layers", title, drawn, table, wide=not trained))
    if trained:
        drawn = themed(symmetry_figures.deviations_over_training, progress)
        table = partial(symmetry_figures.deviations_table, progress)
        title = "Deviation of the layers from equivariance while training"
        made.append(PageFigure("layers-training", title, drawn, table, wide=False))
    return made


def _error_figures(errors: Mapping[str, Any] | None) -> list[PageFigure]:
    if errors is None:
        return []
    title = "Equivariance errors of policy and critic"
    drawn = themed(symmetry_figures.equivariance_errors, errors["errors"])
    table = partial(symmetry_figures.errors_table, errors["errors"], errors["seeds"])
    return [PageFigure("errors", title, drawn, table, height=280)]


def _moved(weights: RelaxedWeights | None) -> list[str]:
    if weights is None:
        return []
    sizes = {layer: float(np.mean(weights.deviation(layer))) for layer in weights.layers}
    layer = max(sizes, key=sizes.__getitem__)
    amount = format_number(sizes[layer], "percent", 0)
    if sizes[layer] == 0:
        return ["No relaxed layer deviates from its symmetry yet."]
    return [
        f"Largest deviation of a layer from its symmetry: {symmetry_figures.layer_label(layer)}, {amount}."
    ]


def _answers(errors: Mapping[str, Any] | None) -> list[str]:
    if errors is None:
        return []
    table = symmetry_figures.errors_table(errors["errors"])
    found = []
    for element, own in table[table["part"] == "policy"].groupby("element", sort=False):
        amount = format_number(float(own["relative"].mean()), "percent", 1)
        words = {"exchange": "assets change places", "mirror": "every return changes sign"}.get(
            str(element), str(element)
        )
        found.append(f"When {words}, the policy differs by {amount} from the equivariant answer.")
    return found
