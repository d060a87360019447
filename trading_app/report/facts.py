"""Method and provenance of a result, as terms and sentences."""

from __future__ import annotations

from typing import Any

from trading_app.backtesting.summary import kind_of
from trading_app.evaluation.labels import format_number
from trading_app.evaluation.sizing import trainings_at_base
from trading_app.report.data import ReportData
from trading_app.report.theme import label_of


def sampling(data: ReportData) -> tuple[bool, str]:
    """Return whether the backtest is out of sample, and a sentence that states it."""
    start, end = data.document["start"], data.document["end"]
    train = data.manifest.get("split", {}).get("train")
    if not train:
        return True, f"Backtested from {start} to {end}."
    learned = data.manifest["split"].get("validation") or train
    if learned[1] < start and len(data.folds) > 1:
        return (
            True,
            f"Out of sample: {start} to {end}. The agent was trained {len(data.folds)} times, each time on dates "
            "before those that it trades on (model selection included).",
        )
    if learned[1] < start:
        return (
            True,
            f"Out of sample: {start} to {end}. Training and model selection used dates up to {learned[1]} only.",
        )
    return False, (
        f"Not out of sample: the backtest runs from {start} to {end}, but training and model selection used dates up "
        f"to {learned[1]}. These results do not predict future performance."
    )


def method_facts(data: ReportData) -> dict[str, str]:
    """Return the method of the backtest, term by term."""
    document = data.document
    costs = document["costs"]
    fills = {"next_open": "the next session's open", "next_close": "the next session's close"}
    impact = costs["impact_coefficient"]
    rate = format_number(document["risk_free"], "percent", 2)
    if costs.get("risk_free_rates"):
        rate = f"the dated risk-free rate ({rate} on average)"
    baselines = [label_of(name) for name in document["strategies"] if kind_of(name) == "baseline"]
    facts = {
        "Decisions": "Target weights at each close, from prices up to that close.",
        "Fills": f"At {fills.get(document['fill'], document['fill'])}, after the decision; holdings drift between.",
        "Trading costs": f"Commission {format_number(costs['commission_bps'], 'bps', 1)} and half-spread "
        f"{format_number(costs['half_spread_bps'], 'bps', 1)} of each unit traded; "
        + (f"square-root impact with coefficient {impact:g}." if impact else "no market impact."),
        "Holding costs": f"Borrow {format_number(costs['borrow_bps'], 'bps', 0)} a year on shorts; cash earns "
        f"{rate}, debt pays "
        f"{format_number(costs['financing_spread_bps'], 'bps', 0)} more.",
        "Dates": f"{document['start']} to {document['end']}, {document['sessions']} returns, "
        f"{document['periods']} a year.",
        "Universe": f"{len(document['data']['symbols'])} symbols of {document['data']['name']}.",
        "Intervals": f"Stationary bootstrap with automatic block length, {document['reps']} resamples, "
        f"{format_number(document['level'], 'percent', 0)} percentile intervals, fixed seed.",
    }
    seeds = sum(entry["kind"] == "seed" for entry in document["strategies"].values())
    if seeds and "agent" in document["strategies"]:
        held = (
            f"the mean of the target weights of its {seeds} seeds"
            if seeds > 1
            else "the target weights of its one seed"
        )
        at_base = trainings_at_base(document)
        if any(at_base):
            held = "its base" if all(at_base) else f"{held}, or its base where they show too little evidence"
        facts = {"Agent": f"Holds {held}."} | facts
    if baselines:
        facts["Baselines"] = f"{', '.join(baselines)}: same prices, dates, fills and costs."
    return facts


def manifest_facts(data: ReportData) -> dict[str, str]:
    """Return the provenance of the run, term by term; unknown entries are left out."""
    manifest = data.manifest
    code, machine = manifest.get("code", {}), manifest.get("machine", {})
    seconds = manifest.get("wall_time_seconds")
    revision = code.get("revision")
    rows: dict[str, Any] = {
        "Run": data.name,
        "Created": manifest.get("created_at"),
        "Agent": manifest.get("agent") or manifest.get("config", {}).get("sac", {}).get("agent"),
        "Seeds": ", ".join(map(str, manifest.get("seeds", []))),
        "Data": manifest.get("data", {}).get("name"),
        "Data hash (SHA-256)": data.document["data"].get("hash") or manifest.get("data", {}).get("hash"),
        "Code revision": f"{revision}{' (changed since)' if code.get('changed') else ''}"
        if revision
        else None,
        "Training time": f"{seconds:.0f} s" if seconds is not None else None,
        "Machine": ", ".join(
            str(part)
            for part in (
                machine.get("system"),
                machine.get("processor"),
                f"{machine['cores']} cores" if machine.get("cores") else None,
                f"{machine['memory_gib']} GiB" if machine.get("memory_gib") else None,
                machine.get("accelerator"),
            )
            if part
        ),
        "Packages": ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()),
    }
    return {label: str(value) for label, value in rows.items() if value}
