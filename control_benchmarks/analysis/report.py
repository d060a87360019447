"""One page with all figures, tables and claims of the control study, and the figures as files."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from control_benchmarks.analysis.claims import (
    Claim,
    Study,
    claims,
    last_returns,
    noise_returns,
    scores,
    seeds_text,
)
from control_benchmarks.analysis.comparisons import Part
from control_benchmarks.analysis.export import ABOUT, csv_text, split, stamp, write_exports
from control_benchmarks.analysis.figures import (
    MUTED,
    claim_intervals,
    equivariance_errors,
    learning_curves,
    noise_robustness,
    published_returns,
    relaxed_weights,
)
from control_benchmarks.analysis.published import published_comparison, published_points
from control_benchmarks.analysis.render import write_pngs
from control_benchmarks.errors import ControlError
from control_benchmarks.experiments.results import read_directory
from equitrade.atomic import atomic_write
from rl_core.statistics import bootstrap_interval

FEWEST = 5  # fewest seeds for a meaningful bootstrap over seeds
_STYLE = """
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif;color:#1a1d21;min-width:900px;
max-width:1180px;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;margin:1rem 0;font-size:14px}
td,th{border-bottom:1px solid #e8ebef;padding:.3rem .7rem;text-align:left}th{color:#5b6470;font-weight:600}
.yes{color:#0072B2;font-weight:600}.no{color:#D55E00;font-weight:600}.undecided{color:#6b7480;font-weight:600}
"""


@dataclass(frozen=True)
class Written:
    """Files of `write_figures`, a note if PNG files are missing, and the claims."""

    page: Path
    files: tuple[Path, ...]
    note: str | None
    claims: tuple[Claim, ...]


def draw_all(study: Study, found: Sequence[Claim]) -> dict[str, Any]:
    """Return every figure of a study by the name of its file."""
    figures: dict[str, Any] = {}
    if found:
        figures["claims"] = claim_intervals(found)
    if published_points(study):
        figures["published"] = published_returns(study)
    for task in sorted({task for task, _ in study.cells}):
        figures[f"{task}-curves"] = learning_curves(study, task)
        figures[f"{task}-weights"] = relaxed_weights(study, task)
        figures[f"{task}-policy-equivariance"] = equivariance_errors(study, task, "policy")
        figures[f"{task}-critic-equivariance"] = equivariance_errors(study, task, "critic")
        figures[f"{task}-noise"] = noise_robustness(study, task)
    for name, figure in figures.items():
        figure.update_layout(title_subtitle={"text": ABOUT[split(name)[1]], "font": {"color": MUTED}})
    return {name: figure for name, figure in figures.items() if len(figure.data)}


def write_figures(results: Path, directory: Path, *, png: bool = True) -> Written:
    """Write the figures, tables and claims of a folder of results.

    The directory gets ``index.html``, ``claims.json``, ``scores.csv``, a file a figure, what dashboards show
    (`control_benchmarks.analysis.export`), and PNG files, if asked for and a browser draws them.

    Raises `ControlError` if there are no results.
    """
    drawn = stamp(results)
    study = Study(read_directory(results))
    if not study.runs:
        raise ControlError(
            f"{results}: no results; run `equitrade control run`, or name a folder with --results "
            "(the published results are in the repository under control_benchmarks/results)"
        )
    directory.mkdir(parents=True, exist_ok=True)
    found = claims(study)
    figures = draw_all(study, found)
    files: list[Path] = []
    for name, figure in figures.items():
        path = directory / f"{name}.html"
        figure.write_html(path, include_plotlyjs="directory", full_html=True)
        files.append(path)
    atomic_write(directory / "claims.json", json.dumps([asdict(claim) for claim in found], indent=1) + "\n")
    page = directory / "index.html"
    values = score_values(study)
    atomic_write(page, render(study, found, figures, score_rows(values)))
    atomic_write(directory / "scores.csv", csv_text(values))
    write_exports(
        directory,
        study,
        found,
        figures,
        stamp=drawn,
        notes=[
            settings_line(study),
            *_caution(study),
            *(f"{claim.sentence}." for claim in found),
        ],
        tables={
            "Beside published results": published_comparison(study),
            "Scores": score_rows(values),
            "How broken the variants are": gap_rows(study),
        },
    )
    note = write_pngs(directory, list(figures)) if png else None
    drawn_pngs = (directory / f"{name}.png" for name in figures) if png else ()
    files += [path for path in drawn_pngs if path.exists()]
    return Written(page, tuple(files), note, found)


def render(
    study: Study, found: Sequence[Claim], figures: Mapping[str, Any], rows: Sequence[Mapping[str, str]]
) -> str:
    """Return the page: claims, table against the published bars, rows of scores, gaps, figures."""
    drawn = {  # the figure of the claims is the first one, which brings plotly.js
        name: figure.to_html(full_html=False, include_plotlyjs=number == 0)
        for number, (name, figure) in enumerate(figures.items())
    }
    body = [
        "<h1>Symmetry in control</h1>",
        f"<p>{html.escape(settings_line(study))}</p>",
        "<h2>Claims</h2>",
        _claim_table(found),
        drawn.pop("claims", ""),
        "<h2>Beside published results</h2>",
        table(published_comparison(study)),
        "<h2>Scores</h2>",
        table(rows),
        "<h2>How broken the variants are</h2>",
        table(gap_rows(study)),
        "<h2>Figures</h2>",
        *drawn.values(),
    ]
    head = f'<meta charset="utf-8"><title>Symmetry in control</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>'


def score_values(study: Study) -> list[dict[str, Any]]:
    """Return a row a cell and agent, with 95 % intervals: score over training, return at the last evaluation, and
    return at the end of training without noise (None where it was not measured yet).
    """
    rows: list[dict[str, Any]] = []
    for task, variant in study.cells:
        for agent in study.agents:
            run = study.run((task, variant), agent)
            if run is None:
                continue
            row: dict[str, Any] = {"task": task, "variant": variant, "agent": agent}
            row["seeds"] = len(run.header["seeds"])
            levels, noisy = noise_returns(run)
            quantities: dict[str, Any] = {"score": scores(run), "return": last_returns(run)}
            quantities["return_without_noise"] = noisy[:, levels == 0].ravel() if len(levels) else None
            for name, values in quantities.items():
                found = (
                    None if values is None else bootstrap_interval(values, generator=np.random.default_rng(0))
                )
                for part in ("estimate", "low", "high"):
                    row[name if part == "estimate" else f"{name}_{part}"] = getattr(found, part, None)
            rows.append({**row, "state": "done" if run.done else "cut off"})
    return rows


def score_rows(values: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows of `score_values` for people to read."""
    return [
        {
            **{name: str(row[name]) for name in ("task", "variant", "agent", "seeds")},
            "score over training": f"{row['score']:.3f} [{row['score_low']:.3f}, {row['score_high']:.3f}]",
            "return at the end": f"{row['return']:.0f} [{row['return_low']:.0f}, {row['return_high']:.0f}]",
            "state": row["state"],
        }
        for row in values
    ]


def gap_rows(study: Study) -> list[dict[str, str]]:
    """Return a row a cell: the measured gaps of reward and transition with 95 % intervals."""
    rows = []
    for task, variant in study.cells:
        run = next(found for key, found in study.runs.items() if key[:2] == (task, variant))
        gaps = run.header["gaps"]
        reward, transition = gaps["reward"], gaps["transition"]
        rows.append(
            {
                "task": task,
                "variant": variant,
                "reward gap": f"{reward['mean']:.2g} [{reward['low']:.2g}, {reward['high']:.2g}]",
                "transition gap": f"{transition['mean']:.2g} [{transition['low']:.2g}, {transition['high']:.2g}]",
                "largest": f"{reward['largest']:.2g}, {transition['largest']:.2g}",
                "a decision's change": f"{gaps['change']:.2g}",
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return an HTML table of rows with equal keys."""
    if not rows:
        return "<p>Nothing yet.</p>"
    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    body = "".join(f"<tr>{_cells(row.values())}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(values: Iterable[str]) -> str:
    return "".join(f"<td>{html.escape(value)}</td>" for value in values)


def _claim_table(found: Sequence[Claim]) -> str:
    rows = []
    for claim in found:
        parts = "<br>".join(html.escape(_part_text(part)) for part in claim.parts)
        answer = f'<td class="{claim.answer}">{claim.answer}</td>'
        rows.append(
            f"<tr><td>({claim.letter})</td><td>{html.escape(claim.text)}</td>{answer}<td>{parts}</td></tr>"
        )
    return f"<table><tbody>{''.join(rows)}</tbody></table>" if rows else "<p>Nothing yet.</p>"


def _part_text(part: Part) -> str:
    interval = part.interval
    text = f"{part.label}: {interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    return text if part.seeds_needed is None else f"{text}, {seeds_text(part.seeds_needed)}"


def settings_line(study: Study) -> str:
    """Return a sentence on the settings, the machine and the statistics."""
    header = next(iter(study.runs.values())).header
    learner, machine = header["learner"], header["machine"]
    return (
        f"{len(study.runs)} runs, each with {len(header['seeds'])} seeds; width {learner['width']}, batch "
        f"{learner['batch_size']}, action repeat {header['settings']['action_repeat']}; {machine['device']}, PyTorch "
        f"{machine['torch']}. Curves and points are interquartile means over seeds with stratified-bootstrap 95 % "
        "intervals."
    )


def _caution(study: Study) -> list[str]:
    """Return a warning if there are too few seeds for intervals over seeds."""
    seeds = min(len(run.header["seeds"]) for run in study.runs.values())
    if seeds >= FEWEST:
        return []
    return [f"Some runs have {seeds} seeds, which is too few for claims."]
