"""Comparisons of a study: the subject with each other agent and with the references, on each dataset and over several.

Each compares the daily net returns of two ensembles, or of the subject's ensemble and a reference, on the same dates.
The measure is the difference of their net Sharpe ratios, with the HAC error of `trading_app.evaluation`. P-values are
corrected by Holm's method, those of single datasets together and those over several together. A difference is
decided where its interval excludes 0 and its corrected p-value is below 1 − level.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from trading_app.backtesting.summary import AGENT
from trading_app.evaluation.active import YEARLY
from trading_app.evaluation.hac import Estimate, mean_estimate
from trading_app.evaluation.metrics import returns_array
from trading_app.evaluation.sharpe_difference import (
    Pair,
    mean_sharpe_difference,
    sharpe_difference,
    two_sided_p,
)
from trading_app.evaluation.significance import compare

__all__ = ["GROUPS", "LEVEL", "compare_datasets", "group_text", "other_text"]

LEVEL = 0.95
GROUPS = {"real": "datasets of real prices", "simulated": "simulated panels", "all": "datasets"}
"""Groups of datasets over which differences are averaged, in words."""

Record = dict[str, Any]

_RESAMPLED = (
    "sharpe_difference",
    "sharpe_low",
    "sharpe_high",
    "excess_return",
    "excess_low",
    "excess_high",
    "probability_ahead",
    "block",
    "reps",
)


def compare_datasets(
    pairs: Mapping[str, Mapping[str, Pair]],
    subject: str,
    *,
    simulated: Collection[str] = (),
    level: float = LEVEL,
    reps: int = 1000,
) -> tuple[list[Record], list[Record]]:
    """Compare the subject with each other strategy, on each dataset and over several.

    Parameters
    ----------
    pairs
        Other strategy → dataset → returns of the subject and of the other one.
    subject
        Name of the subject, for the sentences.
    simulated
        Datasets of simulated prices.
    level, reps
        Coverage of the intervals, and number of resamples of the bootstrap beside them.

    Returns
    -------
    list, list
        A record for each strategy and dataset, and one for each strategy and group of at least two datasets: those of
        real prices, of simulated prices, and all. They have ``other``; ``dataset``, ``start``, ``end`` and
        ``sessions``, or ``group`` (real, simulated or all) and ``datasets``; ``sharpe_difference``: an estimate; ``p``;
        ``p_holm``, corrected for all records of the list; ``verdict``: better, worse, equal or undecided; and
        ``sentence``. Those of one dataset also have ``return_difference``, the mean difference of returns a year, and
        ``bootstrap``, the same comparison by the stationary bootstrap (`trading_app.evaluation.significance`).
    """
    single, overall = [], []
    resampled = _resampled(pairs, level, reps)
    for other, by_dataset in pairs.items():
        for dataset, pair in by_dataset.items():
            single.append(_on_dataset(dataset, other, pair, resampled[dataset][other], level))
        for group, labels in _groups(by_dataset, simulated).items():
            chosen = [by_dataset[label] for label in labels]
            estimate = mean_sharpe_difference(chosen, level=level)
            tested = _tested(estimate, all(pair.equal for pair in chosen))
            overall.append({"other": other, "group": group, "datasets": labels, **tested})
    overall.sort(key=lambda record: list(GROUPS).index(record["group"]))
    for records in (single, overall):
        _judge(records, subject, level)
    return single, overall


def _groups(labels: Iterable[str], simulated: Collection[str]) -> dict[str, list[str]]:
    """Return the groups of at least two datasets, by name; not all of them where they are of one kind."""
    kinds: dict[str, list[str]] = {"real": [], "simulated": []}
    for label in labels:
        kinds["simulated" if label in simulated else "real"].append(label)
    if all(kinds.values()):
        kinds["all"] = [*kinds["real"], *kinds["simulated"]]
    return {group: members for group, members in kinds.items() if len(members) > 1}


def _resampled(
    pairs: Mapping[str, Mapping[str, Pair]], level: float, reps: int
) -> dict[str, dict[str, Record]]:
    """Return the comparisons by the stationary bootstrap: dataset → other strategy → figures."""
    datasets: dict[str, dict[str, Pair]] = {}
    for other, by_dataset in pairs.items():
        for dataset, pair in by_dataset.items():
            datasets.setdefault(dataset, {})[other] = pair
    found = {}
    for dataset, others in datasets.items():
        first = next(iter(others.values()))
        columns = {AGENT: first.own, **{other: pair.other for other, pair in others.items()}}
        comparisons = compare(
            pd.concat(columns, axis=1, join="inner"),
            AGENT,
            list(others),
            level=level,
            reps=reps,
            periods=first.periods,
            risk_free=first.risk_free,
        )
        found[dataset] = {c.baseline: {key: getattr(c, key) for key in _RESAMPLED} for c in comparisons}
    return found


def _on_dataset(dataset: str, other: str, pair: Pair, resampled: Record, level: float) -> Record:
    difference = returns_array(pair.own - pair.other)
    return {
        "other": other,
        "dataset": dataset,
        "start": str(pair.own.index[0].date()),
        "end": str(pair.own.index[-1].date()),
        "sessions": len(pair.own),
        **_tested(sharpe_difference(pair, level=level), pair.equal),
        "return_difference": asdict(mean_estimate(difference, level=level, unit=YEARLY, scale=pair.periods)),
        "bootstrap": resampled,
    }


def _tested(estimate: Estimate, equal: bool) -> Record:
    return {"sharpe_difference": asdict(estimate), "p": two_sided_p(estimate), "equal": equal}


def _judge(records: Sequence[Record], subject: str, level: float) -> None:
    """Add the corrected p-value, the verdict and the sentence to each record."""
    from statsmodels.stats.multitest import multipletests

    defined = [record for record in records if np.isfinite(record["p"])]
    if defined:
        corrected = multipletests([record["p"] for record in defined], alpha=1 - level, method="holm")[1]
        for record, p in zip(defined, corrected, strict=True):
            record["p_holm"] = float(p)
    for record in records:
        record.setdefault("p_holm", float("nan"))
        record["verdict"] = _verdict(record, level)
        record["sentence"] = _sentence(record, subject, len(defined))


def group_text(record: Mapping[str, Any]) -> str:
    """Return the datasets of a record over several in words: ``3 datasets of real prices``."""
    return f"{len(record['datasets'])} {GROUPS[record['group']]}"


def other_text(record: Mapping[str, Any]) -> str:
    """Return the other strategy of a record in words."""
    name = str(record["other"])
    return {"base": "its base", "plug-in": "the plug-in"}.get(name, name.replace("-", " "))


def _verdict(record: Record, level: float) -> str:
    if record.pop("equal"):
        return "equal"
    estimate = record["sharpe_difference"]
    if not record["p_holm"] < 1 - level or estimate["low"] <= 0 <= estimate["high"]:
        return "undecided"
    return "better" if estimate["value"] > 0 else "worse"


def _sentence(record: Record, subject: str, count: int) -> str:
    estimate, other = record["sharpe_difference"], other_text(record)
    where = f"On {record['dataset']}" if "dataset" in record else f"Over {group_text(record)}"
    if record["verdict"] == "equal":
        return f"{where}, {subject} and {other} have equal returns."
    found = "{value:+.2f} ({low:+.2f} … {high:+.2f})".format(**estimate).replace("-", "−")
    if not np.isfinite(record["p"]):
        return f"{where}, {subject} and {other} cannot be compared: a Sharpe ratio is not defined."
    if record["verdict"] != "undecided":
        chance = f"p = {record['p_holm']:.3f}" if record["p_holm"] >= 0.001 else "p < 0.001"
        return (
            f"{where}, {subject} is {record['verdict']} than {other}: difference of net Sharpe ratios {found}, "
            f"{chance} after Holm's correction."
        )
    beyond = not estimate["low"] <= 0 <= estimate["high"]
    why = (
        f", which {count} comparisons may show by chance (Holm's p = {record['p_holm']:.2f})"
        if beyond
        else ""
    )
    return (
        f"{where}, it is undecided whether {subject} is better than {other}: difference of net Sharpe ratios "
        f"{found}{why}."
    )
