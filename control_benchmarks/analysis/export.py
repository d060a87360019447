"""Figures of a study as files for a dashboard: an index, and each figure with its data.

A folder holds ``dashboard.json`` (``format``, ``title``, ``stamp``, ``notes``, ``tables`` with ``caption`` and
``rows``, ``figures`` with ``name``, ``title``, ``subtitle`` and ``view``), and for each figure ``NAME.plotly.json``, a
Plotly figure, and ``NAME.csv``, the numbers behind it. ``view`` is the task that a figure belongs to,
empty for those of the whole study.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from control_benchmarks.analysis.claims import Claim, Study, curve, noise_returns, relaxations
from control_benchmarks.analysis.render import FIGURE_SUFFIX
from control_benchmarks.experiments.results import Results
from equitrade.atomic import atomic_write

FORMAT = 1
INDEX = "dashboard.json"
Row = dict[str, Any]

_OVER = "Interquartile mean over seeds with its 95 % bootstrap interval"
ABOUT = {
    "curves": f"{_OVER}; a panel a variant of the task.",
    "weights": "0 is a layer that keeps the symmetry. Bars: interquartile mean over seeds with its 95 % interval.",
    "policy-equivariance": f"{_OVER}; 0 is an equivariant policy, and the symmetry agents stay there.",
    "critic-equivariance": f"{_OVER}; 0 is an equivariant critic.",
    "noise": f"{_OVER}, at the end of training.",
    "claims": "Bars are simultaneous 95 % intervals: seeds of a task resampled together, Bonferroni's correction. A "
    "score of 1 is 1,000 points of return. Blue: yes; orange: no; grey: undecided.",
    "published": "Our dense and relaxed agents with 95 % intervals beside what others published at the same frames.",
}


def stamp(results: Path) -> str:
    """Return a hash of a folder of results; the sizes of its files suffice, since files only grow."""
    sizes = sorted((path.name, path.stat().st_size) for path in results.glob("*.jsonl"))
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def write_exports(
    directory: Path,
    study: Study,
    found: Sequence[Claim],
    figures: Mapping[str, Any],
    *,
    stamp: str,
    notes: Sequence[str],
    tables: Mapping[str, Sequence[Mapping[str, str]]],
) -> None:
    """Write index, figures and data; the index comes last, so that it names only complete files.

    Names of figures are ``claims``, ``published`` and ``TASK-KIND``; `notes` are sentences, `tables` rows by caption.
    """
    entries = []
    for name, figure in figures.items():
        task, kind = split(name)
        atomic_write(directory / f"{name}{FIGURE_SUFFIX}", figure.to_json())
        atomic_write(directory / f"{name}.csv", csv_text(data_of(study, found, name)))
        title = str(figure.layout.title.text or name)
        entries.append({"name": name, "title": title, "subtitle": ABOUT[kind], "view": task})
    index = {
        "format": FORMAT,
        "title": "Symmetry in control",
        "stamp": stamp,
        "notes": list(notes),
        "tables": [
            {"caption": caption, "rows": [dict(row) for row in rows]} for caption, rows in tables.items()
        ],
        "figures": entries,
    }
    atomic_write(directory / INDEX, json.dumps(index, indent=1, allow_nan=False) + "\n")


def split(name: str) -> tuple[str, str]:
    """Split a figure's name into its task, empty for figures of the whole study, and its kind."""
    if name in ("claims", "published"):
        return "", name
    task, _, kind = name.partition("-")
    return task, kind


def data_of(study: Study, found: Sequence[Claim], name: str) -> list[Row]:
    """Return the numbers behind a figure, a row each."""
    task, kind = split(name)
    if kind == "claims":
        return [
            {
                "claim": claim.letter,
                "text": claim.text,
                "comparison": part.label,
                "difference": part.interval.estimate,
                "low": part.interval.low,
                "high": part.interval.high,
                "single_low": part.single.low,
                "single_high": part.single.high,
                "answer": part.answer,
                "seeds_needed": part.seeds_needed,
            }
            for claim in found
            for part in claim.parts
        ]
    if kind == "published":
        from control_benchmarks.analysis.published import published_points

        return published_points(study)
    return list(_rows(study, task, _KINDS[kind]))


def _rows(study: Study, task: str, rows_of: Callable[[Results], Iterator[Row]]) -> Iterator[Row]:
    for name, variant in study.cells:
        for agent in study.agents if name == task else ():
            run = study.run((name, variant), agent)
            if run is not None:
                yield from ({"variant": variant, "agent": agent, **row} for row in rows_of(run))


def _returns(run: Results) -> Iterator[Row]:
    found = curve(run)
    for seed, values in zip(run.header["seeds"], found.values, strict=True):
        for frames, value in zip(found.frames, values, strict=True):
            yield {"seed": seed, "frames": int(frames), "return": float(value)}


def _errors(part: str) -> Callable[[Results], Iterator[Row]]:
    def rows(run: Results) -> Iterator[Row]:
        error, scale = curve(run, f"{part}_error"), curve(run, f"{part}_scale")
        for seed, errors, scales in zip(run.header["seeds"], error.values, scale.values, strict=True):
            for frames, value, size in zip(error.frames, errors, scales, strict=True):
                yield {"seed": seed, "frames": int(frames), "error": float(value), "scale": float(size)}

    return rows


def _weights(run: Results) -> Iterator[Row]:
    for layer, values in relaxations(run).items():
        for seed, value in zip(run.header["seeds"], values, strict=True):
            yield {"seed": seed, "layer": layer.removesuffix(".w"), "relaxation": float(value)}


def _noise(run: Results) -> Iterator[Row]:
    levels, returns = noise_returns(run)
    for seed, values in zip(run.header["seeds"], np.atleast_2d(returns), strict=False):
        for level, value in zip(levels, values, strict=False):
            yield {"seed": seed, "noise": float(level), "return": float(value)}


_KINDS: dict[str, Callable[[Results], Iterator[Row]]] = {
    "curves": _returns,
    "weights": _weights,
    "policy-equivariance": _errors("policy"),
    "critic-equivariance": _errors("critic"),
    "noise": _noise,
}


def csv_text(rows: Sequence[Row]) -> str:
    """Rows with equal keys as the text of a CSV file."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
