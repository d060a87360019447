"""The page *Compare*: what was chosen, each by its own backtest, and what keeps it from being compared."""

from __future__ import annotations

import html
import io
import json
from typing import Any

import pandas as pd
import pytest

from trading_app.report.verdict import verdict


def test_newest_runs_are_shown_beside_the_reference(desk: Any) -> None:
    text = desk.get("/dashboard/compare")
    for run in ("alpha", "beta"):
        assert f'name="run" value="{run}" data-submit checked' in text
    assert 'value="fresh" data-submit disabled' in text
    assert 'value="equal-weight" data-submit checked' in text


def test_curves_begin_at_one_on_the_dates_that_all_have(desk: Any) -> None:
    path = "/dashboard/compare/figures/curves.csv?run=alpha&run=beta&baseline=equal-weight"
    curves = pd.read_csv(io.StringIO(desk.get(path)), index_col=0)
    assert list(curves.columns) == ["alpha", "beta", "equal-weight"]
    assert (curves.iloc[0] == 1).all()
    assert len(curves) == 420


def test_table_has_intervals_p_values_and_trials(desk: Any) -> None:
    metrics = json.loads((desk.home / "runs/beta/metrics.json").read_text())
    text = desk.get("/dashboard/compare?run=beta&baseline=equal-weight")
    assert "SPA p-value against equal weight" in text
    assert f"{metrics['strategies']['agent']['metrics']['sharpe']:.2f}".replace("-", "−") in text
    assert '<th scope="col">Trials</th>' in text
    assert "alpha</label>" not in text.split("<table")[1]


def test_verdict_of_each_run_is_shown(desk: Any) -> None:
    text = html.unescape(desk.get("/dashboard/compare?run=alpha&run=beta"))
    for run in ("alpha", "beta"):
        document = json.loads((desk.home / f"runs/{run}/metrics.json").read_text())
        assert verdict(document).sentence in text


@pytest.mark.parametrize("measure", ["sharpe", "cagr", "break_even_bps", "turnover"])
def test_measure_of_the_figure_can_be_chosen(desk: Any, measure: str) -> None:
    path = f"/dashboard/compare/figures/measure.json?run=alpha&run=beta&measure={measure}"
    assert len(desk.figure(path)["data"]) == 6  # two runs and the reference, a bar and a dot each


def test_differences_are_those_of_the_runs(desk: Any) -> None:
    path = "/dashboard/compare/figures/differences.csv?run=alpha&run=beta&baseline=equal-weight"
    table = pd.read_csv(io.StringIO(desk.get(path)), index_col="run")
    for run in ("alpha", "beta"):
        document = json.loads((desk.home / f"runs/{run}/metrics.json").read_text())
        entry = next(c for c in document["comparisons"] if c["baseline"] == "equal-weight")
        assert table.loc[run, "sharpe_difference"] == pytest.approx(entry["sharpe_difference"])


def test_what_differs_is_said(desk: Any) -> None:
    path = desk.home / "runs/beta/metrics.json"
    document = json.loads(path.read_text())
    document["costs"]["commission_bps"] += 5
    document["start"] = "2019-02-01"
    path.write_text(json.dumps(document))
    text = desk.get("/dashboard/compare?run=alpha&run=beta")
    assert "different costs" in text
    assert "different dates" in text
    assert "different costs" not in desk.get("/dashboard/compare?run=alpha")


def test_run_without_a_backtest_or_name_is_told(desk: Any) -> None:
    assert "<code>equitrade backtest fresh</code>" in desk.get("/dashboard/compare?run=fresh").replace(
        "&#39;", "'"
    )
    desk.get("/dashboard/compare?run=nope", 404)
    assert "unknown; there are" in desk.get("/dashboard/compare?measure=luck", 422)
