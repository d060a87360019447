"""Verdict on an agent in words; every claim is supported by its test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trading_app.evaluation.agreement import Agreement
from trading_app.evaluation.labels import format_measure, format_number
from trading_app.evaluation.sizing import Sizing
from trading_app.report.theme import label_of

SIGNIFICANT = 0.05
#: Correlation from which seeds are said to agree where the run needs none.
AGREEMENT = 0.5
BASES = {
    "equal-weight": "equal weight",
    "inverse-volatility": "inverse volatility",
    "min-variance": "minimum variance",
    "given": "given weights",
}


@dataclass(frozen=True)
class Verdict:
    """A sentence with its details; ``tone`` is ``better``, ``worse`` or ``open``.

    ``agreement``, the first of the details, is on the agreement of the seeds and on what their active weights earned on
    dates new to them; empty where that was not measured.
    """

    tone: str
    sentence: str
    details: tuple[str, ...]
    agreement: str = ""


def verdict(document: Mapping[str, Any]) -> Verdict:
    """Judge the agent by the evidence (`trading_app.backtesting.summary.evidence`).

    *Better* only where the interval of the Sharpe ratio's difference from the reference excludes zero and
    the SPA test, which allows for every strategy that was looked at, agrees.
    """
    comparisons = {entry["baseline"]: entry for entry in document.get("comparisons", [])}
    agreement = ensemble_sentences(document)
    reference = document.get("reference")
    if reference not in comparisons:
        return Verdict("open", "There is no agent and baseline to compare: measures only.", (), agreement)
    entry = comparisons[reference]
    test = next((test for test in document["spa"] if test["benchmark"] == reference), None)
    tone, sentence = _sentence(entry, test)
    details = [agreement, _all_baselines(comparisons), *_spa(document, test)]
    details += [_deflated(document), _costs(document)]
    details += _seeds(document)
    return Verdict(tone, sentence, tuple(detail for detail in details if detail), agreement)


def ensemble_sentences(document: Mapping[str, Any]) -> str:
    """Return sentences on the agreement of a run's seeds and on their sizing; empty if not measured.

    The document is the evidence of a backtest or a manifest.
    """
    return " ".join(filter(None, (agreement_sentence(document), sizing_sentence(document))))


def sizing_sentence(document: Mapping[str, Any]) -> str:
    """Return a sentence on what the seeds' active weights earned on dates new to them; empty if not measured.

    ``sizing`` of the document is a list of `trading_app.evaluation.sizing.Sizing` as mappings, one for each training.
    """
    found = [Sizing.from_record(record) for record in document.get("sizing") or ()]
    if not found:
        return ""
    held = sum(entry.holds_base for entry in found)
    disagreeing = any(Agreement.from_record(record).holds_base for record in document.get("agreement") or ())
    where = f" in {held} of {len(found)} trainings" if len(found) > 1 else ""
    if held:
        there = ", there" if where else ""
        consequence = "" if disagreeing else f", so the agent holds it{there}"
        return (
            "On dates new to the seeds, no size of their active weights earned clearly more than the base"
            f"{where}{consequence}."
        )
    paces = dict.fromkeys(f"size {entry.size:g} and speed {entry.speed:g}" for entry in found)
    errors = [format_number(entry.gain / entry.error, "ratio", 1) for entry in found]
    return (
        f"On dates new to the seeds, their active weights earned more than the base, by {_listed(errors)} standard "
        f"errors, at {_listed(list(paces))}{'' if disagreeing else '; the agent trades so'}."
    )


def agreement_sentence(document: Mapping[str, Any]) -> str:
    """Return a sentence on the agreement of a run's seeds, and on what its ensemble holds; empty if not measured.

    ``agreement`` of the document (or of a manifest) is a list of `trading_app.evaluation.agreement.Agreement` as
    mappings, one for each training.
    """
    found = [Agreement.from_record(record) for record in document.get("agreement") or ()]
    if not found:
        return ""
    first = found[0]
    if first.seeds == 1:
        return "The run has one seed, so that agreement of seeds is not defined."
    measured = [entry for entry in found if entry.correlation is not None]
    if not measured:
        return "No seed has active weights, so that agreement of the seeds is not defined."
    needed = first.needed or AGREEMENT
    apart = [entry for entry in measured if (entry.correlation or 0.0) < needed]
    if not apart:
        return f"The seeds agree ({_correlations(measured)})."
    several = len(found) > 1
    where = f" in {len(apart)} of {len(found)} trainings" if several else ""
    limit = f", needed {needed:g}" if first.needed else ""
    sentence = f"The seeds do not agree{where} ({_correlations(apart)}{limit})"
    if any(entry.holds_base for entry in found):
        sentence += f", so the agent holds its base, {BASES[str(first.base)]}{', there' if several else ''}"
    return f"{sentence}."


def _correlations(found: Sequence[Agreement]) -> str:
    values = [format_number(entry.correlation, "ratio", 2) for entry in found]
    return f"correlation{'s' if len(values) > 1 else ''} {_listed(values)}"


def _sentence(entry: Mapping[str, Any], test: Mapping[str, Any] | None) -> tuple[str, str]:
    """Tone and sentence: the mean return first, then the Sharpe ratio."""
    name = baseline_name(entry["baseline"])
    low, high = entry["excess_low"], entry["excess_high"]
    if entry["sharpe_low"] is None or entry["sharpe_high"] is None or low is None or high is None:
        return "open", f"No Sharpe ratio to compare with {name}: a series without variation has none."
    mean = "worse" if high < 0 else "better" if low > 0 else "open"
    earned = {
        "worse": "Earned less than",
        "better": "Earned more than",
        "open": "Mean return not distinguishable from",
    }
    difference, *bounds = (
        format_number(value, "percent", 1) for value in (entry["excess_return"], low, high)
    )
    ratio = {"better": "higher", "worse": "lower"}.get(entry["verdict"], "not distinguishable")
    level = format_number(entry["level"], "percent", 0)
    sentence = (
        f"{earned[mean]} {name} after costs: {difference} a year ({bounds[0]} to {bounds[1]}); Sharpe ratio {ratio} "
        f"(difference {_span(entry['sharpe_low'], entry['sharpe_high'])}, {level} intervals)"
    )
    if "worse" in (mean, entry["verdict"]):
        return ("open" if "better" in (mean, entry["verdict"]) else "worse"), f"{sentence}."
    if entry["verdict"] != "better":
        return "open", f"{sentence}."
    if test is not None and test["consistent"] >= SIGNIFICANT:
        return "open", (
            f"{sentence}; with all {len(test['candidates'])} strategies compared, a higher mean return is not "
            f"significant (SPA {p_value(test)})."
        )
    return "better", f"{sentence}."


def _all_baselines(comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    if len(comparisons) < 2:
        return ""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "indistinguishable": []}
    for name, entry in comparisons.items():
        groups[entry["verdict"]].append(baseline_name(name))
    parts = []
    if groups["better"]:
        parts.append(f"above {_listed(groups['better'])}")
    if groups["worse"]:
        parts.append(f"below {_listed(groups['worse'])}")
    if groups["indistinguishable"]:
        parts.append(f"not distinguishable from {_listed(groups['indistinguishable'])}")
    return f"Sharpe ratio, baseline by baseline: {'; '.join(parts)}."


def _spa(document: Mapping[str, Any], test: Mapping[str, Any] | None) -> list[str]:
    if test is None:
        return []
    seeds = len(test["candidates"]) - 1
    if test["consistent"] < SIGNIFICANT:
        who = f"The best of the agent and its {seeds} seeds has a" if seeds > 1 else "The agent has a"
    else:
        who = (
            f"Neither the agent nor any of its {seeds} seeds has a demonstrably"
            if seeds > 1
            else "The agent has no demonstrably"
        )
    name = baseline_name(test["benchmark"])
    lines = [f"{who} higher mean return than {name} (Hansen's SPA test, {p_value(test)})."]
    reverse = document.get("spa_reverse")
    if reverse is not None:
        if reverse["consistent"] < SIGNIFICANT:
            lines.append(
                f"At least one baseline, {baseline_name(reverse['best'])}, has a higher mean return than the agent "
                f"(SPA, {p_value(reverse)})."
            )
        else:
            lines.append(
                f"No baseline has a demonstrably higher mean return than the agent (SPA, {p_value(reverse)})."
            )
    return lines


def _deflated(document: Mapping[str, Any]) -> str:
    """Deflated (or probabilistic) Sharpe ratio of the return above the reference, as a sentence."""
    above = document.get("above_reference") or document
    trials, probability = document.get("trials", 1), above.get("deflated_sharpe")
    if probability is None:
        return ""
    of_what = "of the return above the reference " if above is not document else ""
    if trials == 1:
        chance = percent_chance(probability)
        return f"The true Sharpe ratio {of_what}is above zero with probability {chance} (probabilistic Sharpe ratio)."
    return (
        f"{trials} settings were tried. The true Sharpe ratio {of_what}is above the expected maximum of that "
        f"many settings without skill with probability {percent_chance(probability)} (deflated Sharpe ratio)."
    )


def _costs(document: Mapping[str, Any]) -> str:
    measured = document["strategies"].get("agent", {}).get("metrics", {})
    if measured.get("turnover") is None or measured.get("break_even_bps") is None:
        return ""
    charged = document["costs"]["commission_bps"] + document["costs"]["half_spread_bps"]
    impact = " before impact" if document["costs"]["impact_coefficient"] else ""
    turnover = format_measure("turnover", measured["turnover"])
    rate = f"{format_number(charged, 'bps', 1)} per unit traded{impact}"
    paid = f"It turns over {turnover} of the account a year at {rate}"
    if measured["break_even_bps"] <= 0:
        return f"{paid}; its mean return is negative even without trading costs."
    even = (document.get("above_reference") or {}).get("break_even_bps")
    above = (
        ""
        if even is None
        else f", and that of the reference from {format_measure('break_even_bps', even)} on"
        if even > 0
        else ", and below that of the reference even without trading costs"
    )
    nil = format_measure("break_even_bps", measured["break_even_bps"])
    return f"{paid}; its mean return would be zero at {nil}{above}."


def _seeds(document: Mapping[str, Any]) -> list[str]:
    spread = document.get("seeds", {}).get("sharpe")
    count = sum(entry["kind"] == "seed" for entry in document["strategies"].values())
    if spread is None or count < 2:
        return []
    low, high = (format_measure("sharpe", spread[key]) for key in ("lowest", "highest"))
    return [f"Its {count} seeds alone reach Sharpe ratios from {low} to {high}."]


def baseline_name(strategy: str) -> str:
    """Return a baseline's name within a sentence."""
    label = label_of(strategy)
    return label[:1].lower() + label[1:]


def p_value(test: Mapping[str, Any]) -> str:
    """``p = 0.12``, or a bound where no resample was as extreme."""
    value = test["consistent"]
    floor = 1 / test["reps"]
    return f"p < {floor:.3g}" if value < floor else f"p = {value:.2g}" if value < 0.1 else f"p = {value:.2f}"


def percent_chance(probability: float | None) -> str:
    """Return a probability in percent, at most 'over 99 %'."""
    if probability is None:
        return "–"
    if probability > 0.99:
        return f"over {format_number(0.99, 'percent', 0)}"
    if probability < 0.01:
        return f"under {format_number(0.01, 'percent', 0)}"
    return format_number(probability, "percent", 0)


def _span(low: float, high: float) -> str:
    return f"{format_number(low, 'ratio', 2)} to {format_number(high, 'ratio', 2)}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
