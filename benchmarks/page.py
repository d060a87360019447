"""The documentation page of measurements, which ``python -m benchmarks.page`` writes from the stored results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.learning import panel
from benchmarks.learning.hard_planted import compare, hard_verdicts, text
from benchmarks.learning.planted.figures import load, table, under_noise
from benchmarks.learning.planted.verdicts import Row, verdicts
from benchmarks.learning.precision import compare as compare_precisions
from benchmarks.learning.rules.comparison import MARKETS as RULE_MARKETS
from benchmarks.learning.rules.comparison import summary
from benchmarks.lookahead import rows as lookahead_rows
from benchmarks.page_control import control_section
from benchmarks.speed.market import TARGETS as MARKET_GOALS

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results"
PAGE = ROOT.parent / "docs" / "reference" / "measured.md"

HEAD = """# Measured

`python -m benchmarks.page` writes this page from the stored results under `benchmarks/results/` and
`control_benchmarks/results/`. It shows every mark, reached or missed; see [how to measure](../how-to/benchmarks.md).
In each benchmark the contenders run alternately, and ratios are taken within one round. Absolute times vary by a
factor of two on the shared machine that was used, so a result close to its mark can be on either side of it on another
day.
"""


PLANTED = """## Planted market

Share of the optimum after a number of gradient updates: interquartile mean over seeds with its 95 % interval. The
noise of returns is 0.1 unless the cell's name says otherwise. In `exchange1-mirror1` both symmetries are broken. Cells
that were not run have no row. [The planted market](../explanation/planted.md) explains the problem.
"""


HARD = """## Hard planted market

Share of the optimum after 1,000 updates where data are as few and as noisy as daily prices: one fixed history for each
of ten seeds; interquartile means with 95 % intervals. Settings were chosen on other seeds. The plug-in estimates the
market from the same history and knows its form. `free` is the relaxed agent without the rule of evidence. `local`: a
quarter of the assets deviate, and drift is earned only where the signal is above 1.
[The planted market](../explanation/planted.md#few-and-noisy-data) explains the problem.
"""
PANEL = """## Planted panel

Net Sharpe ratio out of sample of agents trained by the defaults of `equitrade train --signals` on simulated prices with
a signal of realistic size (`equitrade bench panel`): daily R² 0.5 %, half-life of five sessions, slopes that differ
between assets, costs of 10 basis points. Means over worlds, each with five seeds, with 95 % t intervals. The plug-in
estimates each asset's slope on the training dates, shrinks it, and trades part of the way to its aim: it knows the form
of the forecast.
"""
RULES = """### Rules of relaxation

Mean share of the optimum over the three seeds on which the rule was chosen (no other table uses them); *worst* is the
largest distance from the best rule of a market, the criterion of the choice. `unlimited`: noise 0.1, stored
transitions, one value for all assets, 1,250 updates; `history`: noise 3, 2,500 periods, made transitions, a value of
each asset, 1,000 updates. `evidence` is the rule that is used; `symmetric-noise` measures its noise at the symmetric
point; the others are described in `benchmarks/learning/rules/contenders.py`.
"""
NOISE = """Share of the optimum at the end of training when the policy acts on noisy observations. The columns are the
standard deviation of the noise, relative to that of the signals.
"""
MARKS = "| measure | result | mark | |\n|---|---|---|---|"
COUNTS = (1000, 1500, 2000, 2500, 3000, 5000, 7500, 10_000)


def page(results: Path = RESULTS) -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for section in SECTIONS:
        path = results / f"{section.name}.json"
        if not path.is_file():
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        parts.append(f"## {section.title}\n\n{section.about} Measured on {_machine(document['machine'])}\n")
        parts.append(MARKS)
        parts.extend(f"| {a} | {b} | {c} | {_mark(d)} |" for a, b, c, d in section.rows(document))
        parts.append("")
    parts.extend(control_section())
    parts.extend(_panel(results / "planted_panel"))
    parts.extend(_hard_planted(results / "hard_planted"))
    parts.extend(_rules(results / "relaxation_rules"))
    parts.extend(_planted(results / "planted"))
    return "\n".join(parts)


def _panel(folder: Path) -> Iterator[str]:
    """Yield the lines of the planted panels' section."""
    rows = panel.compare(panel.stored(folder))
    if rows:
        yield PANEL
        yield MARKS
        yield from (f"| {a} | {b} | {c} | {_mark(d)} |" for a, b, c, d in panel.panel_verdicts(rows))
        yield ""


def _hard_planted(folder: Path) -> Iterator[str]:
    """Yield the lines of the hard planted benchmark's section."""
    rows = compare(load(folder))
    if not rows:
        return
    yield HARD
    yield MARKS
    yield from (f"| {a} | {b} | {c} | {_mark(d)} |" for a, b, c, d in hard_verdicts(rows))
    yield ""
    yield "| market | noise σ | periods | agent | share of the optimum | plug-in | above exact, seed by seed |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        above = text(row["above_exact"], signed=True) if "above_exact" in row else ""
        yield (
            f"| {row['market']} | {row['noise']:g} | {row['periods']:,} | {row['agent']} | {text(row['share'])} | "
            f"{text(row['plug_in'])} | {above} |"
        )
    yield ""


def _rules(folder: Path) -> Iterator[str]:
    """Yield the lines of the comparison of rules."""
    rows = summary(load(folder))
    if not rows:
        return
    yield RULES
    yield f"| rule | worst | {' | '.join(RULE_MARKETS)} |"
    yield "|---|---|" + "---|" * len(RULE_MARKETS)
    for row in rows:
        shares = [f"{row[market]:.3f}" if market in row else "" for market in RULE_MARKETS]
        yield f"| `{row['rule']}` | {row['worst']:.3f} | {' | '.join(shares)} |"
    yield ""


def _planted(folder: Path) -> Iterator[str]:
    """Yield the lines of the planted benchmark's section."""
    records = load(folder)
    rows = table(records, COUNTS)
    if not rows:
        return
    yield PLANTED
    marks = [f"| {a} | {b} | {c} | {_mark(d)} |" for a, b, c, d in verdicts(records)]
    if marks:
        yield MARKS
        yield from marks
        yield ""
    yield "| cell | seeds | " + " | ".join(f"{count:,}" for count in COUNTS) + " | updates to 95 % |"
    yield "|---|---|" + "---|" * (len(COUNTS) + 1)
    for row in rows:
        shares = [row[str(count)] for count in COUNTS]
        shown = ["" if v is None else f"{v[0]:.3f} ({v[1]:.3f} … {v[2]:.3f})" for v in shares]
        first = row["to 95 %"]
        yield f"| `{row['cell']}` | {row['seeds']} | {' | '.join(shown)} | {first or 'not reached'} |"
    yield ""
    main = {name: under_noise(r) for name, r in records.items() if name.startswith(("main", "confirm"))}
    if not main:
        return
    levels = list(next(iter(main.values())))
    yield NOISE
    yield "| cell | " + " | ".join(levels) + " |"
    yield "|---|" + "---|" * len(levels)
    for name, noisy in main.items():
        shown = [text(v) for v in noisy.values()]
        yield f"| `{name}` | {' | '.join(shown)} |"
    yield ""


def _machine(machine: dict[str, Any]) -> str:
    loads = machine.get("load_average") or ["?"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['torch_threads']} threads, load {loads[0]}, "
        f"torch {machine['versions'].get('torch')}; {machine['time'][:10]}."
    )


def _mark(reached: bool | None) -> str:
    return {None: "", True: "reached", False: "**missed**"}[reached]


def _at_most(what: str, ratio: float, most: float | None) -> Row:
    """Return the row of a ratio and its largest accepted value, if there is one."""
    mark = "" if most is None else f"at most {most} ×"
    return what, f"{ratio:.2f} ×", mark, None if most is None else ratio <= most


def _sac(document: dict[str, Any]) -> Iterator[Row]:
    for row in document["ratios"]:
        yield (
            f"updates/s: {row['contender']} over {row['over']}",
            f"{row['ratio']:.2f} ×",
            f"{row['reach']:.2f} ×",
            row["ratio"] >= row["reach"],
        )
    for row in document["rows"]:
        yield f"agent-updates/s: {row['contender']}", f"{row['agent_updates_per_second']:.0f}", "", None
    action = document["action_of_5_seeds_p50_ms"]
    yield "one action of a 5-seed policy, p50", f"{action:.2f} ms", "1 ms", action <= 1


def _precision(document: dict[str, Any]) -> Iterator[Row]:
    result = compare_precisions(document["runs"])
    for name, curve in result["curves"].items():
        last = f"{curve['estimate'][-1]:.4f} ({curve['low'][-1]:.4f} … {curve['high'][-1]:.4f})"
        updates = document["runs"][name]["updates"][-1]
        what = f"cost saved, as a share of the cost without control, after {updates:,} updates: {name}"
        yield what, last, "", None
    for name, (estimate, low, high) in result["differences"].items():
        figure = f"{estimate:+.4f} ({low:+.4f} … {high:+.4f})"
        yield f"bfloat16 minus float32, {name}", figure, "interval contains 0", low <= 0 <= high
    what = (
        f"evaluations at which bfloat16's mean of {len(document['seeds'])} seeds lies in float32's interval"
    )
    yield what, f"{result['inside']} of {result['evaluations']}", "", None


def _agent(document: dict[str, Any]) -> Iterator[Row]:
    update = "time of an update, {task}"
    for row in document["ratios"]:
        what = f"{update.format(**row)}: {row['agent']} over dense"
        yield _at_most(what, row["ratio"], row["reach"])
    for row in document.get("speedups", ()):
        what = f"{update.format(**row)}: {row['agent']}, autograd over fused"
        yield what, f"{row['ratio']:.2f} ×", f"at least {row['reach']} ×", row["ratio"] >= row["reach"]
    for row in document.get("evidence", ()):
        yield _at_most(f"{update.format(**row)}: relaxed by evidence over free", row["ratio"], row["reach"])
    for row in document.get("transitions", {}).get("ratios", ()):
        what = f"time of a {row['task']}, trading: made over stored transitions"
        yield _at_most(what, row["ratio"], row["reach"])
    for row in document["rows"]:
        what = f"one update, {row['task']}: {row['agent']}, {row['parameters_of_a_seed']:,} parameters"
        yield what, f"{row['milliseconds']:.1f} ms", "", None


def _layers(document: dict[str, Any]) -> Iterator[Row]:
    plain, escnn = (document["ratios"].get(k) for k in ("relaxed_over_plain", "escnn_over_relaxed"))
    yield _at_most("relaxed convolution's time over a plain one's", plain, 1.15)
    if escnn is not None:
        yield "escnn's time over the relaxed convolution's", f"{escnn:.2f} ×", "1.5 ×", escnn >= 1.5


def _market(document: dict[str, Any]) -> Iterator[Row]:
    for name, result in document["results"].items():
        rate, goal = result["steps_per_second"], MARKET_GOALS.get(name)
        what = {"single": "one Gymnasium account", "FinRL": "FinRL's NumPy environment"}.get(
            name, f"{name} accounts"
        )
        what = what.replace(" with windows accounts", " accounts, windows of features gathered")
        yield f"{what}, steps/s", f"{rate:,.0f}", f"{goal:,}" if goal else "", rate >= goal if goal else None
    if "single_over_finrl" in document:
        yield "one account over FinRL's, same run", f"{document['single_over_finrl']:.2f} ×", "", None


def _backtest(document: dict[str, Any]) -> Iterator[Row]:
    for name, ratio in document.get("times_faster_than_vectorbt", {}).items():
        goal = 25.0 if name == "net asset values" else None
        yield (
            f"{name}, over vectorbt warm",
            f"{ratio:.0f} ×",
            "25 ×" if goal else "",
            ratio >= goal if goal else None,
        )
    many = document["results"][f"{document['strategies']} strategies"]["median_s"]
    yield f"{document['strategies']} strategies at once", f"{many:.1f} s", "3 s", many < 3
    for name, value in document.get("proof", {}).items():
        yield f"largest relative difference of net asset values: {name}", f"{value:.0e}", "1e-9", value < 1e-9


def _service(document: dict[str, Any]) -> Iterator[Row]:
    rate, p99 = document["service"]["median_rate"], document["service"]["p99_seconds"]
    clients = document["clients"]
    yield f"allocations/s, one worker, {clients} clients", f"{rate:.0f}", "at least 500", rate >= 500
    what = f"99th percentile of the latency, {clients} clients"
    yield what, f"{p99 * 1e3:.0f} ms", "at most 50 ms", p99 <= 0.05
    yield "median latency, one client", f"{document['one_client']['p50_seconds'] * 1e3:.1f} ms", "", None


def _dashboards(document: dict[str, Any]) -> Iterator[Row]:
    for name, row in document["pages"].items():
        seen, slowest, drawn = (row[f"{key}_seconds"] for key in ("visible", "slowest_visible", "drawn"))
        size = row["bytes"] / 1e6
        what = f"{name}: first view, median (slowest) of {document['repeats']}"
        yield what, f"{seen:.2f} s ({slowest:.2f})", "at most 1.5 s", seen <= 1.5
        yield f"{name}: figures drawn by plotly.js", f"{drawn:.1f} s", "at most 3 s", drawn <= 3
        yield f"{name}: transferred", f"{size:.1f} MB", "at most 5 MB", size <= 5


def _placebo(document: dict[str, Any]) -> Iterator[Row]:
    for kind, row in document["summary"].items():
        beside = ", above equal weight" if kind == "shuffled" else ""
        markets = len(document["markets"][kind])
        yield (
            f"net Sharpe ratio{beside}, {markets} {kind} markets × {document['seeds']} seeds",
            f"{row['mean']:+.2f} ({row['low']:+.2f} … {row['high']:+.2f})",
            "not above 0",
            row["p_above_nothing"] > 0.05,
        )
    for name, row in document.get("against_former", {}).items():
        what = {"gross": "gross exposure", "turnover": "turnover a year"}[name]
        found = f"{row['ratio']:.2f} ({row['low']:.2f} … {row['high']:.2f})"
        yield (
            f"{what} on random markets over that of the former defaults",
            found,
            "at most 0.5",
            row["ratio"] <= 0.5,
        )


def _startup(document: dict[str, Any]) -> Iterator[Row]:
    for name, row in document["results"].items():
        yield name, f"{row['median_s']:.2f} s", f"under {row['reach']:g} s", row["median_s"] < row["reach"]


def _growth(document: dict[str, Any]) -> Iterator[Row]:
    for row in document["rows"]:
        size = ", ".join(f"{count:,} {name}" for name, count in row["from"].items())
        for name, quantity in (("time", "seconds"), ("memory", "bytes")):
            what = f"{name} of a {row['what']}, {row['factor']} times the {row['axis']} ({size})"
            yield _at_most(what, row[f"{quantity}_growth"], row["factor"])


class Section(NamedTuple):
    """A table of the page: its title, the stored result it shows, what was measured, and its rows."""

    title: str
    name: str
    about: str
    rows: Callable[[dict[str, Any]], Iterator[Row]]


SECTIONS = [
    Section(
        "Learning: gradient updates",
        "sac",
        "Gradient updates of SAC per second on vectors (17 observed numbers, 6 actions, width 256, batch 256), beside "
        "Stable-Baselines3 and SBX, and our gradients beside those of PyTorch's autograd.",
        _sac,
    ),
    Section(
        "Learning: bfloat16 products on a linear-quadratic regulator",
        "precision",
        "Learning curves of the same agent with matrix products in bfloat16 and in float32.",
        _precision,
    ),
    Section(
        "Learning: agents on sets of assets",
        "agent",
        "Time of one gradient update of the trading agents, beside our dense agent with as many parameters.",
        _agent,
    ),
    Section(
        "Layers",
        "layers",
        "Forward and backward pass of a relaxed group convolution, beside a plain one and that of escnn.",
        _layers,
    ),
    Section(
        "Portfolio market",
        "market",
        "Steps per second of the portfolio environment with 20 assets and random actions, beside FinRL.",
        _market,
    ),
    Section(
        "Backtest",
        "backtest",
        "Backtest of a daily matrix of target weights with costs, beside vectorbt and bt.",
        _backtest,
    ),
    Section(
        "Service",
        "service",
        "Requests to `POST /allocations` on one machine, one worker; each client sends a request after each answer.",
        _service,
    ),
    Section("Start", "startup", "Time of a command or import from a new process.", _startup),
    Section(
        "Growth",
        "growth",
        "Growth of time and memory when one size of a training or a backtest is four times as large.",
        _growth,
    ),
    Section(
        "Dashboards",
        "dashboards",
        "Each page opened in a new browser with an empty cache, in a home with ten runs: time until the text and the "
        "size of the figures are visible, time until plotly.js has drawn them, and bytes transferred.",
        _dashboards,
    ),
    Section(
        "Placebo markets",
        "placebo",
        "Net Sharpe ratios out of sample of agents trained on prices that cannot be predicted.",
        _placebo,
    ),
    Section(
        "Look-ahead in signals",
        "lookahead",
        "Signals that the test of `equitrade check-lookahead` calls a leak, among causal and shifted ones.",
        lookahead_rows,
    ),
]

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
