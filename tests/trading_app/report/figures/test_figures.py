"""Figures by their data: what is drawn is what was given, named, coloured and thinned as promised."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from trading_app.evaluation.metrics import drawdowns
from trading_app.report import theme as t
from trading_app.report.figures import calendar, performance, portfolio, significance
from trading_app.report.payload import embed, payload

DATES = pd.bdate_range("2015-01-01", periods=1500, name="date")


@pytest.fixture(scope="module")
def equity() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    names = ["agent", "seed-0", "seed-1", "seed-2", "equal-weight", "momentum"]
    steps = generator.normal(0.0004, 0.01, (len(DATES) - 1, len(names)))
    return pd.DataFrame(np.vstack([np.ones(len(names)), np.cumprod(1 + steps, axis=0)]), DATES, names)


@pytest.fixture(scope="module")
def weights() -> pd.DataFrame:
    generator = np.random.default_rng(1)
    values = generator.dirichlet(np.ones(12), len(DATES)) * 0.9
    values[0] = 0
    return pd.DataFrame(values, DATES, [f"S{i}" for i in range(12)])


def traces(figure: go.Figure) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def strategies(names: list[str]) -> dict[str, Any]:
    return {
        name: {"metrics": {"sharpe": 0.5 + k / 10}, "intervals": {"sharpe": [k / 10 - 0.2, 1 + k / 10]}}
        for k, name in enumerate(names)
    }


def every_figure(equity: pd.DataFrame, weights: pd.DataFrame, theme: t.Theme) -> dict[str, go.Figure]:
    returns = equity.pct_change().iloc[1:]
    comparison = {
        "baseline": "momentum", "sharpe_difference": 0.2, "sharpe_low": -0.1, "sharpe_high": 0.5,
        "verdict": "indistinguishable", "level": 0.95,
    }  # fmt: skip
    progress = pd.DataFrame(
        [{"step": step, "seed": seed, "sharpe": step + seed} for step in range(0, 100, 10) for seed in (0, 1)]
    )
    turnover = pd.Series(0.02, DATES)
    return {
        "equity": performance.equity_curve(equity, theme=theme),
        "drawdown": performance.drawdown(equity, reference="equal-weight", theme=theme),
        "rolling": performance.rolling(returns, reference="equal-weight", theme=theme),
        "monthly": calendar.monthly_heatmap(returns["agent"], theme=theme),
        "yearly": calendar.yearly_bars(returns[["agent", "equal-weight"]], theme=theme),
        "distribution": calendar.return_distribution(returns["agent"], theme=theme),
        "weights": portfolio.weights_area(weights, theme=theme),
        "map": portfolio.weights_heatmap(weights, theme=theme),
        "exposure": portfolio.exposure(weights, theme=theme),
        "turnover": portfolio.turnover_bars(turnover, theme=theme),
        "waterfall": portfolio.cost_waterfall(
            {"price_pnl": 0.5, "commission": 0.01, "interest": 0.0}, theme=theme
        ),
        "intervals": significance.sharpe_intervals(strategies(list(equity)), theme=theme),
        "differences": significance.sharpe_differences([comparison], theme=theme),
        "training": significance.training_curve(progress, "sharpe", theme=theme),
    }


def test_every_figure_says_what_it_shows_in_both_looks(equity: pd.DataFrame, weights: pd.DataFrame) -> None:
    for theme in (t.LIGHT, t.DARK):
        for name, figure in every_figure(equity, weights, theme).items():
            assert figure.layout.title.text, name
            assert figure.layout.title.subtitle.text, name
            assert figure.layout.template.layout.paper_bgcolor == theme.paper
            assert len(figure.data), name
            json.loads(figure.to_json())


def test_equity_draws_each_strategy_on_a_log_axis(equity: pd.DataFrame) -> None:
    figure = performance.equity_curve(equity, reference="momentum")
    drawn = traces(figure)
    assert figure.layout.yaxis.type == "log"
    assert performance.equity_curve(equity, log=False).layout.yaxis.type == "linear"
    assert {"Agent", "Equal weight", "Momentum", "Seed range"} <= set(drawn)
    assert figure.data[-1].name == "Agent"  # on top
    agent = drawn["Agent"]
    rows = DATES.get_indexer(pd.DatetimeIndex(agent.x))
    np.testing.assert_allclose(agent.y, equity["agent"].iloc[rows], rtol=1e-6)
    assert agent.y[-1] == np.float32(equity["agent"].iloc[-1])
    assert agent.y.max() == np.float32(equity["agent"].max())  # thinning keeps the peak
    assert drawn["Momentum"].line.color == t.LIGHT.reference
    low, high = (trace for trace in figure.data if trace.name == "Seed range")
    np.testing.assert_allclose(low.y, equity.filter(like="seed").min(axis=1).iloc[rows], rtol=1e-6)
    np.testing.assert_allclose(high.y, equity.filter(like="seed").max(axis=1).iloc[rows], rtol=1e-6)


def test_drawdown_marks_the_worst_falls(equity: pd.DataFrame) -> None:
    figure = performance.drawdown(equity, worst=3)
    assert [a.text for a in figure.layout.annotations] == ["<b>1</b>", "<b>2</b>", "<b>3</b>"]
    assert len(figure.layout.shapes) == 3
    depth = drawdowns(equity["agent"]).min()
    assert traces(figure)["Agent"].y.min() == np.float32(100 * depth)
    assert f"{100 * depth:.1f}".replace("-", "\u2212") in figure.layout.title.text
    calm = performance.drawdown(pd.DataFrame({"agent": np.linspace(1, 2, 50)}, DATES[:50]))
    assert len(calm.layout.shapes) == 0


def test_rolling_measures(equity: pd.DataFrame) -> None:
    returns = equity.pct_change().iloc[1:]
    figure = performance.rolling(returns, reference="equal-weight", window=100)
    titles = [a.text for a in figure.layout.annotations]
    assert titles == ["Sharpe ratio", "Volatility, annualised", "Beta to equal weight"]
    last = returns["agent"].tail(100)
    panels = [trace for trace in figure.data if trace.name == "Agent"]
    assert panels[0].y[-1] == pytest.approx(last.mean() / last.std() * np.sqrt(252), rel=1e-5)
    assert panels[1].y[-1] == pytest.approx(100 * last.std() * np.sqrt(252), rel=1e-5)
    other = returns["equal-weight"].tail(100)
    assert panels[2].y[-1] == pytest.approx(last.cov(other) / other.var(), rel=1e-4)
    assert len(performance.rolling(returns).data) == 2
    assert len(performance.rolling(returns.head(9)).data) == 2


def test_monthly_cells_compound_to_the_total(equity: pd.DataFrame) -> None:
    returns = equity["agent"].pct_change().iloc[1:]
    figure = calendar.monthly_heatmap(returns)
    cells = np.asarray(figure.data[0].z, dtype=np.float64)
    assert cells.shape == (len(set(returns.index.year)), 12)
    assert np.nanprod(1 + cells / 100) == pytest.approx(equity["agent"].iloc[-1], rel=1e-5)
    assert figure.data[0].text[0][0] == f"{cells[0, 0]:.1f}".replace("-", "\u2212")
    narrow = figure.layout.meta["narrow"]
    assert len(narrow["data.0.text"]) == len(cells)


def test_years_compound_to_the_total(equity: pd.DataFrame) -> None:
    returns = equity[["agent", "momentum"]].pct_change().iloc[1:]
    for trace in calendar.yearly_bars(returns).data:
        name = "agent" if trace.name == "Agent" else "momentum"
        assert np.prod(1 + np.asarray(trace.y, np.float64) / 100) == pytest.approx(
            equity[name].iloc[-1], rel=1e-5
        )


def test_distribution_counts_every_session(equity: pd.DataFrame) -> None:
    returns = equity["agent"].pct_change().iloc[1:]
    bars = traces(calendar.return_distribution(returns))["Sessions"]
    assert bars.y.sum() == len(returns)
    tail = sum(n for n, c in zip(bars.y, bars.marker.color, strict=True) if c == t.LIGHT.loss)
    assert tail / len(returns) == pytest.approx(0.05, abs=0.03)
    calendar.return_distribution(pd.Series(0.0, DATES))  # all cash is no error


def test_weights_keep_their_sum_when_grouped_and_averaged(weights: pd.DataFrame) -> None:
    figure = portfolio.weights_area(weights, layers=4)
    assert [trace.name for trace in figure.data][-1] == "8 others"
    assert len(figure.data) == 5
    total = sum(np.asarray(trace.y, np.float64) for trace in figure.data)
    np.testing.assert_allclose(total, 90, rtol=1e-5)
    assert len(total) == 400
    everything = portfolio.weights_area(weights, layers=20)
    assert {trace.name for trace in everything.data} == set(weights.columns)


def test_short_positions_lie_below_zero(weights: pd.DataFrame) -> None:
    mixed = weights.copy()
    mixed["S0"] *= -1
    figure = portfolio.weights_area(mixed, layers=12)
    groups = {(trace.name, trace.stackgroup) for trace in figure.data}
    assert ("S0", "short") in groups
    assert ("S0", "long") not in groups
    assert max(trace.y.max() for trace in figure.data if trace.stackgroup == "short") <= 0
    assert sum(trace.showlegend for trace in figure.data) == 12
    heat = portfolio.weights_heatmap(mixed)
    assert heat.data[0].zmin == -heat.data[0].zmax
    assert portfolio.weights_heatmap(weights).data[0].zmin == 0


def test_exposure_names_short_positions_only_where_there_are_some(weights: pd.DataFrame) -> None:
    assert list(traces(portfolio.exposure(weights))) == ["Invested", "Cash"]
    mixed = weights.copy()
    mixed["S0"] *= -1
    drawn = traces(portfolio.exposure(mixed))
    assert list(drawn) == ["Gross", "Net", "Cash"]
    np.testing.assert_allclose(drawn["Gross"].y, 90, rtol=1e-5)
    np.testing.assert_allclose(drawn["Net"].y + drawn["Cash"].y, 100, rtol=1e-5)


def test_turnover_by_month() -> None:
    turnover = pd.Series(0.02, DATES)
    figure = portfolio.turnover_bars(turnover)
    assert figure.data[0].y.sum() == pytest.approx(100 * turnover.sum(), rel=1e-6)
    assert "504" in figure.layout.title.text


def test_waterfall_ends_where_the_parts_lead() -> None:
    totals = {
        "price_pnl": 0.30,
        "commission": 0.01,
        "spread": 0.02,
        "impact": 0.0,
        "borrow": 0.005,
        "interest": 0.001,
    }
    bars = portfolio.cost_waterfall(totals).data[0]
    assert list(bars.x) == ["Price gains", "Commission", "Spread", "Borrow", "Interest", "Net"]
    assert bars.y[:-1].sum() == pytest.approx(26.6)
    assert bars.y[-1] == pytest.approx(26.6)
    np.testing.assert_allclose(list(bars.base)[1:-1], np.cumsum(bars.y[:-2]), rtol=1e-6)
    assert bars.base[0] == bars.base[-1] == 0
    assert (
        "interest added" in portfolio.cost_waterfall({"price_pnl": 0.0, "interest": 0.02}).layout.title.text
    )


def test_intervals_and_seeds() -> None:
    names = ["agent", "seed-0", "seed-1", "equal-weight"]
    figure = significance.sharpe_intervals(strategies(names))
    rows = {trace.y[0] for trace in figure.data}
    assert rows == {"Agent", "Equal weight"}
    seeds = figure.data[-1]
    np.testing.assert_allclose(seeds.x, [0.6, 0.7], rtol=1e-6)
    low, high = figure.layout.xaxis.range
    assert low < -0.2
    assert high > 1.3
    undefined = strategies(names)
    undefined["agent"] = {"metrics": {"sharpe": None}, "intervals": {"sharpe": [None, None]}}
    assert np.isfinite(significance.sharpe_intervals(undefined).layout.xaxis.range).all()


def test_training_curves_of_folds_stand_beside_each_other() -> None:
    progress = pd.DataFrame(
        {"fold": [1, 1, 1, 2], "step": [1, 1, 2, 1], "seed": [0, 1, 0, 0], "loss": [1.0, 3.0, 4.0, 5.0]}
    )
    figure = significance.training_curve(progress, "loss")
    lines = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert lines == {"Fold 1": ([1, 2], [2.0, 4.0]), "Fold 2": ([1], [5.0])}


def test_training_curve_is_the_mean_over_seeds() -> None:
    progress = pd.DataFrame(
        [{"step": s, "seed": k, "loss": 1.0 * s + k, "other": np.nan} for s in range(2000) for k in (0, 2)]
    )
    figure = significance.training_curve(progress, "loss")
    assert [trace.name for trace in figure.data] == ["Seed 0", "Seed 2", "Mean"]
    mean = figure.data[-1]
    assert len(mean.x) <= 400
    assert mean.x[-1] == 1999
    np.testing.assert_allclose(mean.y, mean.x + 1)


def resolved(document: dict[str, Any], name: str) -> Any:
    """A dark figure's data as the page puts it together."""
    figure = json.loads(json.dumps(document["figures"][name]))
    for path, value in figure["dark"]:
        place = figure
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return document["arrays"][value["$"]] if "$" in value else {k: fill(v) for k, v in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    return fill({"data": figure["data"], "layout": figure["layout"]})


def test_payload_gives_back_both_looks(equity: pd.DataFrame, weights: pd.DataFrame) -> None:
    light, dark = every_figure(equity, weights, t.LIGHT), every_figure(equity, weights, t.DARK)
    document = json.loads(embed(payload(light, dark)))
    for name, figure in dark.items():
        expected = json.loads(figure.to_json())
        for key in ("template", "title", "meta"):
            expected["layout"].pop(key, None)
        assert resolved(document, name) == expected, name
    stored = [json.dumps(array) for array in document["arrays"]]
    assert len(stored) == len(set(stored))
    first = next(array for array in document["arrays"] if isinstance(array, dict))
    assert len(base64.b64decode(first["bdata"])) > 0


def test_embedded_text_cannot_leave_its_element() -> None:
    text = embed({"name": "</script><script>alert(1)</script>\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text)["name"].startswith("</script>")
