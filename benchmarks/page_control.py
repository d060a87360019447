"""The part of the page of measured figures on the control experiments: from what `equitrade control figures` wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "control_benchmarks" / "results"
HEAD = """## Control experiments

From states, five seeds; interquartile means over seeds with 95 % intervals. Differences are of scores: the mean
return over training as a share of the largest return. Their intervals are simultaneous: corrected for the number of
comparisons. See [the discussion](../how-to/control.md#what-has-been-found-so-far).
"""
SUITES = {
    "states-cpu": "The preset `strong`, width 64, 100,000 frames",
    "states-paper-cpu": "The preset `paper`, width 128, 40,000 frames",
}
SCORES = """Score over training of each agent (the highest of a row is bold, significant or not):
"""
PUBLISHED = "Beside published results, mean returns (`{}`):\n"


def control_section() -> Iterator[str]:
    """Yield the lines of the section: claims, scores, and returns beside published ones."""
    yield HEAD
    for folder, text in SUITES.items():
        figures = RESULTS / folder / "figures"
        if not figures.is_dir():
            continue
        yield f"### {text}\n\nResults and figures: `control_benchmarks/results/{folder}/`.\n"
        yield "| claim | comparison | difference | answer |\n|---|---|---|---|"
        for row in _rows(figures / "claims.csv"):
            low, high = float(row["low"]), float(row["high"])
            interval = f"{float(row['difference']):+.3f} ({low:+.3f} … {high:+.3f})"
            yield f"| ({row['claim']}) {row['text']} | {row['comparison']} | {interval} | {row['answer']} |"
        yield f"\n{SCORES}"
        yield from _scores(_rows(figures / "scores.csv"))
        yield ""
    for folder in ("states-cpu", "plain-paper-cpu"):
        path = RESULTS / folder / "figures" / "published.csv"
        if path.is_file():
            yield from _published(folder, _rows(path))


def _published(folder: str, rows: list[dict[str, str]]) -> Iterator[str]:
    """Yield a row for each task, number of frames and source."""
    yield PUBLISHED.format(folder)
    yield "| task | frames | who | return |\n|---|---|---|---|"
    for row in rows:
        interval = f" ({float(row['low']):.0f} … {float(row['high']):.0f})" if row["low"] else ""
        result = f"{float(row['return']):.0f}{interval}"
        yield f"| {row['task']} | {int(row['frames']):,} | {row['source']} | {result} |"
    yield ""


def _scores(rows: list[dict[str, str]]) -> Iterator[str]:
    """A row a cell, a column an agent."""
    agents = list(dict.fromkeys(row["agent"] for row in rows))
    yield f"| task | variant | {' | '.join(agents)} |\n|{'---|' * (len(agents) + 2)}"
    for task, variant in dict.fromkeys((row["task"], row["variant"]) for row in rows):
        found = {row["agent"]: row for row in rows if (row["task"], row["variant"]) == (task, variant)}
        best = max(found, key=lambda agent: float(found[agent]["score"]))
        texts = [_score(found.get(agent), agent == best) for agent in agents]
        yield f"| {task} | {variant} | {' | '.join(texts)} |"


def _score(row: dict[str, str] | None, best: bool) -> str:
    if row is None:
        return ""
    value, low, high = (float(row[name]) for name in ("score", "score_low", "score_high"))
    middle = f"**{value:.2f}**" if best else f"{value:.2f}"
    return f"{middle} ({low:.2f} … {high:.2f})"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
