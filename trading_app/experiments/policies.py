"""Loading of trained policies from run directories."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from data.errors import DataError
from rl_core.sac import load_agent
from trading_app.backtesting.policies import AgentPolicy
from trading_app.backtesting.relay import RelayPolicy
from trading_app.evaluation.agreement import Agreement
from trading_app.evaluation.sizing import Sizing
from trading_app.experiments.config import stored_config
from trading_app.runs.run import fold_path


def load_policy(path: str | Path) -> AgentPolicy:
    """Load the policy of a finished run from its newest checkpoint, or from those of a walk-forward run's folds.

    Raises
    ------
    DataError
        If the run is missing or incomplete; the message names the missing part.

    Examples
    --------
    >>> policy = load_policy("equitrade_home/runs/demo")  # doctest: +SKIP
    >>> policy.decide(prices, prices.dates[-1], np.zeros((1, 20))).mean(axis=0)  # doctest: +SKIP
    """
    folder = Path(path)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise DataError(f"{folder}: no run found (manifest.json is missing or damaged)") from None
    if manifest.get("folds"):
        return _load_folds(folder, manifest["folds"])
    config = stored_config(folder)
    recorded, named = manifest.get("features"), config.market.feature_names
    if recorded is not None and tuple(recorded) != named:
        raise DataError(
            f"{folder}: the run was trained on the features {recorded}, but its config.toml names {list(named)}"
        )
    symbols = tuple(manifest["data"]["symbols"])
    agreement = [Agreement.from_record(record) for record in manifest.get("agreement", ())]
    sizing = [Sizing.from_record(record) for record in manifest.get("sizing", ())]
    return AgentPolicy(
        load_agent(folder),
        config.market,
        config.costs,
        symbols,
        agreement=next(iter(agreement), None),
        sizing=next(iter(sizing), None),
    )


def _load_folds(folder: Path, folds: Sequence[Mapping[str, Sequence[str]]]) -> RelayPolicy:
    """Load the policies of a walk-forward run's folds, each used from the first date of its test period."""
    paths = [fold_path(folder, number) for number in range(1, len(folds) + 1)]
    for path in paths:
        if not (path / "manifest.json").is_file():
            advice = f"continue with `equitrade walk-forward --resume --name {folder.name}`"
            raise DataError(f"{folder}: {path.name} of {len(folds)} is not trained yet; {advice}")
    starts = pd.DatetimeIndex([fold["test"][0] for fold in folds])
    return RelayPolicy([load_policy(path) for path in paths], starts)
