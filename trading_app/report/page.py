"""The report as one self-contained HTML page with plotly.js inlined, without requests."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from equitrade.atomic import atomic_write
from trading_app.evaluation.labels import MEASURES
from trading_app.experiments.equivariance import RELAXATION
from trading_app.report import tables
from trading_app.report.data import ReportData, load_report_data
from trading_app.report.facts import manifest_facts, method_facts, sampling
from trading_app.report.figures.backtest import BACKTEST_FIGURES
from trading_app.report.figures.significance import training_curve
from trading_app.report.payload import embed, payload
from trading_app.report.theme import DARK, LIGHT, Theme
from trading_app.report.verdict import verdict
from trading_app.runs.run import Run

#: plotly.js with the traces of two axes (scatter, bar, heatmap, box, histogram and others), a third of the whole
#: library. It is the npm package plotly.js-cartesian-dist-min, in the version that the package plotly carries.
PLOTLY = "plotly-cartesian.min.js"
#: Quantities of training in the order of interest; a part of the name is enough.
TRAINING = (
    "eval_sharpe",
    "eval_growth",
    "eval_",
    "objective",
    "critic_loss",
    "alpha",
    "entropy",
    "actor_loss",
)
CURVES = 4
#: Figures that share a row on a wide screen.
HALF = ("sharpe-intervals", "sharpe-differences", "yearly", "distribution", "exposure", "turnover")


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, heading, one line of introduction and figures by id."""

    anchor: str
    title: str
    lead: str
    figures: tuple[str, ...]


SECTIONS = (
    Section(
        "growth",
        "Growth",
        "Value of an account that starts at 1, and its drawdowns.",
        ("equity", "drawdown"),
    ),
    Section(
        "evidence",
        "Evidence",
        "Uncertainty of the results, and tests of significance.",
        ("sharpe-intervals", "sharpe-differences"),
    ),
    Section("risk", "Rolling risk and return", "", ("rolling",)),
    Section("calendar", "Calendar", "", ("monthly", "yearly", "distribution")),
    Section(
        "portfolio",
        "Portfolio",
        "Holdings and turnover.",
        ("weights", "weights-map", "contribution", "exposure", "turnover"),
    ),
    Section("costs", "Costs", "", ("waterfall",)),
    Section("training", "Seeds and training", "", ()),
)


def report_figures(data: ReportData, theme: Theme) -> dict[str, go.Figure]:
    """Return every figure of a report by id, in the order of the page."""
    view = data.view
    made = {
        name: entry.draw(view, theme, None)
        for name, entry in BACKTEST_FIGURES.items()
        if entry.available(view)
    }
    for metric in training_metrics(data.progress):
        name = f"training-{metric.replace('/', '-')}"
        made[name] = training_curve(data.progress, metric, theme=theme)
    return made


def training_metrics(progress: pd.DataFrame, limit: int | None = CURVES) -> list[str]:
    """Return the quantities of training to show, of those logged more than once; all without a limit."""
    if progress.empty or not {"step", "seed"} <= set(progress.columns):
        return []
    logged = progress.select_dtypes("number").columns.difference(["step", "seed", "fold"], sort=False)
    # The symmetry page shows each layer's.
    kept = [name for name in logged if not name.startswith(f"eval_{RELAXATION}")]
    known = [name for name in kept if progress.loc[progress[name].notna(), "step"].nunique() > 1]
    ranked = [name for key in TRAINING for name in known if key in name]
    return list(dict.fromkeys(ranked))[:limit]


def render_report(data: ReportData, *, plotly_js: str | None = None) -> str:
    """Return the page of a run as text; with the bundle in ``static/`` unless the source of plotly.js is given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
    from markupsafe import Markup

    light, dark = report_figures(data, LIGHT), report_figures(data, DARK)
    environment = Environment(
        loader=PackageLoader("trading_app.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        data=data,
        verdict=verdict(data.document),
        sections=_sections(list(light)),
        captions={
            name: (shown.layout.title.text, shown.layout.title.subtitle.text) for name, shown in light.items()
        },
        heights={name: figure.layout.height for name, figure in light.items()},
        narrow_figures={*HALF, *(name for name in light if name.startswith("training-"))},
        tables=tables.backtest_tables(data.document, data.equity[data.subject], data.costs),
        facts=method_facts(data),
        sampling=sampling(data),
        definitions={about.label: about.meaning for about in MEASURES.values()},
        headlines=tables.headlines(data.document, data.subject, data.reference),
        manifest=manifest_facts(data),
        manifest_json=json.dumps(dict(data.manifest), indent=2, ensure_ascii=False, default=str),
        payload=Markup(embed(payload(light, dark))),
        plotly_js=Markup(plotly_js or static(PLOTLY)),
        style=Markup(static("report.css")),
        script=Markup(static("figures.js")),
    )


def write_report(run: Run) -> Path:
    """Write the report of a backtested run to its ``report.html`` and return that path."""
    atomic_write(run.report, render_report(load_report_data(run)))
    return run.report


def static(name: str) -> str:
    """Text of a file in ``static/``, such as ``report.css``."""
    return files("trading_app.report").joinpath("static", name).read_text(encoding="utf-8")


def _sections(made: list[str]) -> list[Section]:
    training = tuple(name for name in made if name.startswith(("folds", "training-")))
    return [
        replace(section, figures=tuple(name for name in section.figures or training if name in made))
        for section in SECTIONS
    ]
