"""Evidence that a run needs before it is served, and the files that inference needs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import DataError

# Files of a checkpoint that a policy needs; the others are for training.
_CHECKPOINT = ("checkpoint.json", "agent.safetensors", "symmetry.safetensors")


@dataclass(frozen=True)
class Evidence:
    """Evidence and metadata of a run, stored with the model.

    `data` is the snapshot trained on, `trained_until` the last day of training and validation. `cost_rate` is a share
    of the value traded. `history` counts the sessions that a decision needs. `evaluated` has the dates of the
    out-of-sample evaluation, `metrics` its figures: name → ``{value, low, high}``. `signals` are the user's
    own (`data.signals.values.Signals.record`), `files` the paths that inference needs, relative to the run.
    """

    agent: str
    symmetry: str
    seeds: tuple[int, ...]
    data: str
    data_hash: str
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    fill: str
    cost_rate: float = 0.0
    history: int = 0
    trained_until: str | None = None
    evaluated: dict[str, Any] = field(default_factory=dict)
    verdict: str | None = None
    agreement: str | None = None
    holds_base: bool = False
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    signals: tuple[dict[str, Any], ...] = ()
    files: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return text for the database."""
        return json.dumps(asdict(self), allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Return the evidence in such a text."""
        values = json.loads(text)
        for name in ("seeds", "symbols", "features", "notes", "signals", "files"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def read_evidence(run: Path) -> Evidence:
    """Return the evidence of a run, after checking that it may be served.

    Raises `DataError` if the run is incomplete, was not evaluated after the days it learned from or under its own
    costs, fill and dates, or does not record its inputs; the message names the run and what to do.
    """
    from trading_app.runs.run import Run

    manifest = _read(run / "manifest.json", "no run is there")
    if manifest.get("folds"):
        raise DataError(
            f"{run}: a walk-forward run is evidence on its settings, not one model; promote a run trained with them"
        )
    status = Run(run, manifest).status
    if status != "backtested":
        advice = {"complete": f"`equitrade backtest {run.name}` evaluates it"}
        raise DataError(f"{run}: {status}; {advice.get(status, 'let its training end first')}")
    metrics = _read(run / "metrics.json", "backtest the run")
    try:
        return _evidence(run, manifest, metrics)
    except (KeyError, TypeError) as error:
        raise DataError(f"{run}: its manifest or metrics lack {error}; train and backtest it again") from None


def _evidence(run: Path, manifest: dict[str, Any], metrics: dict[str, Any]) -> Evidence:
    from trading_app.evaluation.sizing import trainings_at_base
    from trading_app.report.verdict import ensemble_sentences, verdict

    config, data, split = manifest["config"], manifest["data"], manifest["split"]
    learned = max(str(bounds[1])[:10] for part, bounds in split.items() if part != "test" and bounds)
    if metrics["start"] <= learned:
        raise DataError(
            f"{run}: it was evaluated from {metrics['start']}, but trained on prices until {learned}; "
            f"`equitrade backtest {run.name}` without --start evaluates it out of sample"
        )
    other = _differences(config, split, metrics)
    if other:
        raise DataError(
            f"{run}: its evidence has {' and '.join(other)} than the run; `equitrade backtest {run.name}` without "
            "options makes the run's own"
        )
    symbols, features = tuple(data["symbols"]), tuple(manifest["features"])
    for what, names in (("symbols", symbols), ("features", features)):
        if not names:
            raise DataError(f"{run}: its manifest records no {what}; train and backtest it again")
    agent, costs = metrics["strategies"]["agent"], metrics["costs"]
    return Evidence(
        agent=str(config["sac"]["agent"]),
        symmetry=_symmetry(config["market"], len(symbols)),
        seeds=tuple(manifest["seeds"]),
        data=str(config["data"]["name"]),
        data_hash=str(data["hash"]),
        symbols=symbols,
        features=features,
        fill=str(metrics["fill"]),
        cost_rate=(costs["commission_bps"] + costs["half_spread_bps"]) / 1e4,
        trained_until=learned,
        evaluated={key: metrics[key] for key in ("start", "end", "sessions", "fill", "costs", "level")},
        verdict=verdict(metrics).sentence,
        agreement=ensemble_sentences(manifest) or None,
        holds_base=any(trainings_at_base(manifest)),
        metrics=_figures(agent["metrics"], agent["intervals"]),
        signals=tuple(data.get("signals", ())),
        notes=tuple(dict.fromkeys([*data.get("notes", ()), *metrics.get("notes", ())])),
        files=(*inference_files(run), "metrics.json"),
    )


def _differences(config: dict[str, Any], split: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    """List in what the evidence differs from the run's configuration: costs, fill, dates."""
    # A setting without a value in the configuration is found from the prices.
    costs, market = config.get("costs", {}), config["market"]
    other = []
    if any(metrics["costs"].get(name) != value for name, value in costs.items() if value is not None):
        other.append("other costs")
    if market.get("fill") not in (None, metrics["fill"]):
        other.append("another fill")
    first, last = (str(day)[:10] for day in split["test"])
    if metrics["start"] != first or metrics["end"] < last:
        other.append("other dates")
    return other


def _figures(
    values: dict[str, float | None], intervals: dict[str, list[float | None]]
) -> dict[str, dict[str, float | None]]:
    return {
        name: dict(zip(("value", "low", "high"), (value, *intervals.get(name, (None, None))), strict=True))
        for name, value in values.items()
    }


def _symmetry(market: dict[str, Any], assets: int) -> str:
    mirror = market.get("actions") in ("long-short", "tilt") and market.get("mirror", True)
    within = " within sectors" if market.get("exchange") == "sectors" else ""
    return f"permutations of {assets} assets{within}" + (" and the long/short mirror" if mirror else "")


def inference_files(run: Path) -> tuple[str, ...]:
    """Return the paths, relative to a run, of the files that its policy needs.

    Raises `DataError` if the run has no checkpoint.
    """
    from rl_core.checkpoint import latest_checkpoint

    checkpoint = latest_checkpoint(run)
    if checkpoint is None:
        raise DataError(f"{run}: it has no checkpoint; train it first")
    folder = checkpoint.relative_to(run)
    return ("manifest.json", "config.toml", *(str(folder / name) for name in _CHECKPOINT))


def _read(path: Path, advice: str) -> dict[str, Any]:
    from trading_app.files import RunError, read_json

    try:
        return read_json(path)
    except RunError as error:
        raise DataError(f"{error}; {advice}") from None
