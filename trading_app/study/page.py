"""Page of a study: Markdown made from its stored files, whatever part of the study is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from equitrade.atomic import atomic_write
from trading_app.study.document import load_study, study_document
from trading_app.study.figures import differences_figure, learning_figure
from trading_app.study.tables import (
    BASELINE_COLUMNS,
    DATASET_COLUMNS,
    LEARNING_COLUMNS,
    UNIT_COLUMNS,
    baseline_rows,
    dataset_rows,
    learning_rows,
    unit_rows,
)

__all__ = ["study_page", "write_page"]

Document = Mapping[str, Any]


def write_page(folder: Path, file: Path) -> None:
    """Write the page of a study's folder, and its figures beside it: ``STEM-differences.html``, ``STEM-learning.html``.

    Raises `RunError` where the folder has no study.
    """
    document, (_, units) = study_document(folder), load_study(folder)
    links = {}
    for name, draw in (("differences", differences_figure), ("learning", learning_figure)):
        figure = draw(document)
        if figure is not None:
            links[name] = f"{file.stem}-{name}.html"
            atomic_write(file.with_name(links[name]), figure.to_html(include_plotlyjs=True))
    atomic_write(file, study_page(document, units, links))


def study_page(
    document: Document, units: Mapping[str, Document], figures: Mapping[str, str], *, title: str | None = None
) -> str:
    """Return the page as Markdown.

    Parameters
    ----------
    document, units
        Results of a study, and the documents of its units (`study_document`, `load_study`).
    figures
        Files of the figures ``differences`` and ``learning``, from the page on: pictures are shown, others linked.
    title
        By default the name of the study.
    """
    parts = [f"# {title or 'Study ' + document['study']}", "", *_head(document)]
    if units:
        parts += [*_answers(document), *_figure(figures, "differences", "Differences with intervals"), ""]
        parts += ["## Units", "", _UNITS, "", *_table(UNIT_COLUMNS, unit_rows(document)), ""]
        parts += ["## Baselines", "", _BASELINES, "", *_table(BASELINE_COLUMNS, baseline_rows(units)), ""]
        parts += ["## Learning", "", _LEARNING, "", *_table(LEARNING_COLUMNS, learning_rows(document)), ""]
        parts += [*_figure(figures, "learning", "Learning curves"), ""]
        parts += [*_choices(units), *_notes(units), *_measured(units)]
    return "\n".join(parts).rstrip() + "\n"


_UNITS = (
    "Net of costs, out of sample, one account over all folds. The agent is the ensemble of its seeds; its base is what "
    "it would do without having learned, on the same schedule and within the same band and limits. Intervals of "
    "Sharpe ratios are those of the stationary bootstrap, those of returns above the reference have HAC errors. "
    "Agreement is the correlation of the seeds' active weights on validation dates, mean over folds; where it is below "
    "what the settings need, the ensemble holds its base. The deflated Sharpe ratio is the probability that the true "
    "Sharpe ratio above the reference is larger than that of the best of as many settings without skill as were tried."
)
_BASELINES = "On the same dates, costs and schedule, as in the backtest of the dataset's first unit."
_LEARNING = (
    "Net Sharpe ratio of single seeds minus that of the base on the same dates, by gradient update: interquartile mean "
    "over seeds and folds with its interval over seeds. Training dates are the last ones that the agent learns from. "
    "The last column is the update after which 90 % of the last value is reached."
)


def _head(document: Document) -> Iterator[str]:
    design = document["design"]
    done, missing = len(document["done"]), len(document["missing"])
    yield f"{done} of {done + missing} units are done; a unit is an agent on a dataset. All results are those of them."
    yield ""
    if missing:
        yield f"Not done: {', '.join(document['missing'])}."
        yield ""
    yield (
        f"Agents {', '.join(design['agents'])} on {', '.join(design['data'])}, walk-forward with {design['folds']} "
        "folds: each agent is trained before each fold and tested on it."
    )
    yield ""


def _answers(document: Document) -> Iterator[str]:
    yield "## Answers"
    yield ""
    rows = dataset_rows(document)
    if not rows:
        yield f"None yet: they need {document['design']['subject']} and another agent or reference on one dataset."
        yield ""
        return
    level = f"{100 * document['level']:.0f} %"
    yield (
        f"Differences of annualised net Sharpe ratios on the same dates, with {level} intervals (HAC errors, Ledoit "
        "and Wolf 2008). A difference is decided where the interval excludes 0 and the p-value is below "
        f"{1 - document['level']:.2g} after Holm's correction for the {len(document['comparisons'])} comparisons on "
        f"single datasets, or the {len(document['overall'])} over several. The mean over datasets allows for their "
        "moving together. The differences of single seeds are interquartile means of their Sharpe ratios, with "
        "intervals over the draw of the seeds."
    )
    yield ""
    for record in [*document["overall"], *document["comparisons"]]:
        yield f"- {record['sentence']}"
    yield ""
    yield from _table(DATASET_COLUMNS, rows)
    yield ""


def _figure(figures: Mapping[str, str], name: str, title: str) -> list[str]:
    if name not in figures:
        return []
    picture = "!" if figures[name].endswith((".svg", ".png")) else ""
    return [f"{picture}[{title}]({figures[name]})"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _choices(units: Mapping[str, Document]) -> Iterator[str]:
    yield "## Settings"
    yield ""
    chosen = {name: unit for name, unit in units.items() if unit["candidates"]}
    if not chosen:
        yield "Each agent has one candidate, so that nothing was chosen."
        yield ""
        return
    yield (
        "Chosen on the validation dates of the first fold by the mean Sharpe ratio over seeds. The deflated Sharpe "
        "ratios count all candidates."
    )
    yield ""
    rows = []
    for name, unit in chosen.items():
        tried = [f"{c['name']} {_ratio(c['sharpe'])}" for c in unit["candidates"]]
        rows.append([name, unit["candidate"], ", ".join(tried), str(unit["trials"])])
    yield from _table(("unit", "chosen", "validation Sharpe ratios", "trials"), rows)
    yield ""


def _notes(units: Mapping[str, Document]) -> Iterator[str]:
    """Yield the notes of the backtests, each once with the units that it belongs to."""
    found: dict[str, list[str]] = {}
    for name, unit in units.items():
        for note in unit["notes"]:
            found.setdefault(note, []).append(name)
    if found:
        yield "## Notes"
        yield ""
        yield from (f"- {note} ({', '.join(names)})" for note, names in found.items())
        yield ""


def _measured(units: Mapping[str, Document]) -> Iterator[str]:
    yield "## Measured on"
    yield ""
    machines = dict.fromkeys(
        f"{unit['machine']['processor']}, {unit['machine']['cores']} cores, torch {unit['versions'].get('torch')}"
        for unit in units.values()
    )
    hours = sum(value for unit in units.values() for value in unit["seconds"].values()) / 3600
    data = dict.fromkeys(f"{unit['dataset']} {unit['data']['hash'][:12]}" for unit in units.values())
    yield f"- Machine: {'; '.join(machines)}. Time of all units: {hours:.1f} hours."
    yield f"- Hashes of the prices: {'; '.join(data)}."
    seeds = dict.fromkeys(str(len(unit["seeds"])) for unit in units.values())
    costs = dict.fromkeys(_costs(unit["settings"]["costs"]) for unit in units.values())
    yield f"- Seeds: {', '.join(seeds)}. Costs: {'; '.join(costs)}."


def _costs(costs: Mapping[str, float]) -> str:
    total = costs["commission_bps"] + costs["half_spread_bps"]
    return f"{total:g} basis points of the value traded"


def _ratio(value: float | None) -> str:
    return "diverged" if value is None else f"{value:+.2f}".replace("-", "−")
