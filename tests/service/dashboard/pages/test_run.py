"""The page *Run*: the report's figures, in the range and of the strategy asked for, with the exact data."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from service.dashboard.views.run import FEWEST, load_shown
from trading_app.report.figures.performance import equity_curve
from trading_app.runs.backtests import load_backtest
from trading_app.runs.run import fold_path, open_run


def csv(desk: Any, path: str) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO(desk.get(path)), index_col=0, parse_dates=[0], float_precision="round_trip"
    )


def places(figure: dict[str, Any]) -> list[str]:
    """Dates of a figure's first trace; what several traces share is in its pool."""
    found = figure["data"][0]["x"]
    return list(figure["arrays"][found["$"]] if isinstance(found, dict) else found)


def names(text: str) -> set[str]:
    return set(re.findall(r'data-figure="([^"]+)"', text))


def test_everything_in_the_report_is_on_the_page(desk: Any) -> None:
    from trading_app.report.data import load_report_data
    from trading_app.report.page import report_figures
    from trading_app.report.theme import LIGHT

    run = open_run("alpha", desk.home)
    shown = names(desk.get("/dashboard/run?run=alpha"))
    assert {name.replace("_", "-") for name in report_figures(load_report_data(run), LIGHT)} <= shown
    for name in shown:
        figure = desk.figure(f"/dashboard/run/alpha/figures/{name}.json")
        assert figure["title"]
        assert figure["data"]
        assert desk.service.client.get(f"/dashboard/run/alpha/figures/{name}.csv").status_code == 200


def test_figure_is_the_figure_function_of_the_report(desk: Any) -> None:
    run = open_run("alpha", desk.home)
    saved = load_backtest(run)
    own = equity_curve(saved.equity[list(saved.strategies)], reference="equal-weight")
    shown = desk.figure("/dashboard/run/alpha/figures/equity.json")
    assert [trace.get("name") for trace in shown["data"]] == [trace.name for trace in own.data]
    assert shown["title"] == own.layout.title.text


def test_download_holds_the_exact_data(desk: Any) -> None:
    saved = load_backtest(open_run("alpha", desk.home))
    equity = csv(desk, "/dashboard/run/alpha/figures/equity.csv")
    pd.testing.assert_frame_equal(
        equity,
        saved.equity[list(saved.strategies)],
        check_freq=False,
        check_exact=True,
        check_index_type=False,
    )
    weights = csv(desk, "/dashboard/run/alpha/figures/weights.csv?strategy=seed-1")
    np.testing.assert_array_equal(weights.to_numpy(), saved.weights("seed-1").to_numpy())


def test_range_cuts_every_figure_and_starts_accounts_at_one(desk: Any) -> None:
    equity = csv(desk, "/dashboard/run/alpha/figures/equity.csv?from=2019-06-03&to=2019-12-31")
    assert (str(equity.index[0].date()), str(equity.index[-1].date())) == ("2019-06-03", "2019-12-31")
    assert (equity.iloc[0] == 1).all()
    whole = load_backtest(open_run("alpha", desk.home)).equity
    growth = whole["agent"]["2019-12-31"] / whole["agent"]["2019-06-03"]
    assert equity["agent"].iloc[-1] == pytest.approx(growth, rel=1e-12)
    text = desk.get("/dashboard/run?run=alpha&from=2019-06-03&to=2019-12-31")
    assert "03 Jun 2019 to 31 Dec 2019" in text
    assert "equity.json?from=2019-06-03&amp;to=2019-12-31" in text


def test_profit_of_a_range_adds_up(desk: Any) -> None:
    run = open_run("alpha", desk.home)
    start = pd.Timestamp("2019-06-03").date()
    view = load_shown(run, "agent", start, None).view
    assert sum(view.totals.values()) - 2 * sum(
        view.totals[name] for name in ("commission", "spread", "impact", "borrow")
    ) == pytest.approx(view.equity["agent"].iloc[-1] - 1, abs=1e-12)
    assert float(view.gains.sum().sum()) == pytest.approx(view.totals["price_pnl"], abs=1e-12)


def test_contributions_are_the_price_gains_of_the_ledger(desk: Any) -> None:
    run = open_run("alpha", desk.home)
    view = load_shown(run, None, None, None).view
    np.testing.assert_allclose(view.gains.sum(axis=1), view.costs["price_pnl"], atol=1e-12)


def test_strategy_can_be_chosen(desk: Any) -> None:
    text = desk.get("/dashboard/run?run=alpha&strategy=equal-weight")
    assert '<option value="equal-weight" selected>' in text
    assert "is not in the backtest of alpha" in desk.get("/dashboard/run?run=alpha&strategy=nope", 422)


def test_short_range_says_what_there_is(desk: Any) -> None:
    text = desk.get("/dashboard/run?run=alpha&from=2019-06-03&to=2019-06-10", 422)
    assert f"at least {FEWEST}" in text
    assert "2019-01-02 to 2020-08-11" in text


def test_run_without_a_backtest_shows_its_training(desk: Any) -> None:
    text = desk.get("/dashboard/run?run=fresh")
    assert "This run has no backtest yet" in text
    assert names(text) == {"training-eval-sharpe", "training-critic-loss", "training-alpha"}
    assert desk.figure("/dashboard/run/fresh/figures/training-alpha.json")["data"]


def test_unfinished_run_is_to_be_continued_not_backtested(desk: Any) -> None:
    assert "equitrade backtest fresh" in desk.get("/dashboard/run?run=fresh")
    run = open_run("fresh", desk.home)
    manifest = {name: value for name, value in run.manifest.items() if name != "finished_at"}
    (run.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    for page in ("run", "symmetry", "compare"):
        text = desk.get(f"/dashboard/{page}?run=fresh")
        assert "equitrade train --resume --name fresh" in text, page
        assert "equitrade backtest fresh" not in text, page


def test_walk_forward_run_shows_the_training_of_its_folds(desk: Any) -> None:
    run = open_run("fresh", desk.home)
    manifest = dict(run.manifest) | {"folds": [run.manifest["split"]] * 2}
    (run.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    lines = (run.path / "progress.jsonl").read_text(encoding="utf-8")
    for number in (1, 2):
        fold_path(run.path, number).mkdir(parents=True)
        (fold_path(run.path, number) / "progress.jsonl").write_text(lines, encoding="utf-8")
    shown = desk.figure("/dashboard/run/fresh/figures/training-critic-loss.json")
    assert [trace["name"] for trace in shown["data"]] == ["Fold 1", "Fold 2"]
    table = pd.read_csv(io.StringIO(desk.get("/dashboard/run/fresh/figures/training-critic-loss.csv")))
    assert list(table.columns) == ["fold", "step", "seed", "critic_loss"]


def test_new_backtest_is_seen(desk: Any) -> None:
    first = desk.get("/dashboard/run/alpha/figures/equity.csv")
    for file in ("equity.parquet", "weights.parquet", "trades.parquet", "costs.parquet", "metrics.json"):
        (desk.home / "runs/alpha" / file).write_bytes((desk.home / "runs/beta" / file).read_bytes())
    assert desk.get("/dashboard/run/alpha/figures/equity.csv") != first


def test_damaged_backtest_is_told(desk: Any) -> None:
    (desk.home / "runs/beta/weights.parquet").write_bytes(b"nonsense")
    assert "backtest the run again" in desk.get("/dashboard/run?run=beta", 422)
    assert desk.get("/dashboard/run?run=alpha")


def test_report_can_be_kept_where_there_is_one(desk: Any) -> None:
    assert "<code>equitrade report alpha</code>" in desk.get("/dashboard/run/alpha/report.html", 404)
    (desk.home / "runs/alpha/report.html").write_text("<p>a report</p>", encoding="utf-8")
    answer = desk.service.client.get("/dashboard/run/alpha/report.html")
    assert answer.headers["content-disposition"] == 'attachment; filename="alpha.html"'
    assert "report.html" in desk.get("/dashboard/run?run=alpha")


def test_three_decades_are_thinned_for_the_eye_alone() -> None:
    from service.dashboard.figures import figure_file
    from service.dashboard.views.run import backtest_figures
    from trading_app.report.data import ReportData

    dates = pd.bdate_range("1990-01-02", periods=33 * 252, name="date")
    generator = np.random.default_rng(0)
    weights = pd.DataFrame(
        generator.dirichlet(np.ones(20), len(dates)), dates, [f"S{i:02}" for i in range(20)]
    )
    equity = pd.DataFrame({"agent": np.cumprod(1 + generator.normal(0, 0.01, len(dates)))}, dates)
    document = {"strategies": {"agent": {"kind": "agent", "totals": {"price_pnl": 1.0}, "metrics": {"sharpe": 1.0},
                "intervals": {"sharpe": [0, 1]}}}, "periods": 252, "level": 0.95}  # fmt: skip
    data = ReportData("long", {}, document, equity, weights, pd.DataFrame(index=dates))
    none = pd.DataFrame()
    view = data.view_of("agent", weights, none, none)
    figures = backtest_figures(view)

    class Request:
        query_params: dict[str, str] = {}  # noqa: RUF012
        headers: dict[str, str] = {}  # noqa: RUF012

    for name in ("weights", "weights-map", "exposure", "equity"):
        drawn = figure_file(Request(), figures, f"{name}.json")  # type: ignore[arg-type]
        kept = figure_file(Request(), figures, f"{name}.csv")  # type: ignore[arg-type]
        assert len(drawn.body) < 200_000
        assert bytes(kept.body).count(b"\n") == len(dates) + 1
    # Zoomed to a month, its days are there, and one beyond each end.
    near = backtest_figures(view, focus=("2001-03-01", "2001-03-30"))
    days = [str(day.date()) for day in dates[(dates >= "2001-02-28") & (dates <= "2001-04-02")]]
    for name in ("weights", "weights-map", "exposure", "equity", "drawdown", "rolling"):
        figure = json.loads(figure_file(Request(), near, f"{name}.json").body)  # type: ignore[arg-type]
        assert places(figure) == days, name


def test_zoom_is_asked_for_with_its_dates(desk: Any) -> None:
    assert "data-fine" in desk.get("/dashboard/run?run=alpha&zoom=2019-09-02_2019-09-30")
    path = "/dashboard/run/alpha/figures/weights.json?zoom="
    assert places(desk.figure(path + "2019-09-02_2019-09-30"))[1] == "2019-09-02"
    assert desk.service.client.get(path + "2019-09-02").status_code == 422
    compared = desk.figure("/dashboard/compare/figures/curves.json?zoom=2019-09-02_2019-09-30")
    assert places(compared)[-2] == "2019-09-30"
