"""The service on a real run: the policy of the backtest, loaded, promoted and asked."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from data import Prices, SnapshotStore
from data.errors import DataError
from service.app import create_app
from service.core.settings import load_settings
from service.models.admission import read_evidence
from service.models.serving import load_trained
from trading_app.report.verdict import verdict


@pytest.fixture
def real(trained_home: Path) -> Any:
    app = create_app(load_settings(home=trained_home, rate_limit="100000/minute"))
    with TestClient(app) as client:
        state = app.state.equitrade
        state.registry.promote(trained_home / "runs" / "first", "live")
        token, _ = state.keys.create("test", ["run"])
        client.headers["Authorization"] = f"Bearer {token}"
        yield client, state


def test_evidence_is_the_runs_own(trained_home: Path) -> None:
    run = trained_home / "runs" / "first"
    metrics = json.loads((run / "metrics.json").read_text())
    evidence = read_evidence(run)
    assert evidence.symbols == ("KO", "GE", "IBM", "XOM")
    assert evidence.agent == "relaxed"
    assert len(evidence.features) > 0
    assert evidence.trained_until < metrics["start"] == evidence.evaluated["start"]
    sharpe = metrics["strategies"]["agent"]
    assert evidence.metrics["sharpe"]["value"] == sharpe["metrics"]["sharpe"]
    assert [evidence.metrics["sharpe"][k] for k in ("low", "high")] == sharpe["intervals"]["sharpe"]


@pytest.mark.parametrize("subject", [{"model": "live"}, {"run": "first"}])
def test_backtest_on_days_that_were_learned_from_is_refused_before_it_starts(
    real: Any, subject: dict[str, str], trained_home: Path
) -> None:
    client, state = real
    test = json.loads((trained_home / "runs" / "first" / "manifest.json").read_text())["split"]["test"]
    for days in (
        {"start": "2021-06-01"},
        {"start": "0001-01-01"},
        {"start": "9999-12-31"},
        {"end": test[0]},
        {"end": "0001-01-01"},
    ):
        answer = client.post("/api/v1/backtests", json={**subject, **days})
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"].endswith("invalid-request")
    assert state.jobs.newest() == []
    assert client.post("/api/v1/backtests", json={**subject, "start": test[0]}).status_code == 202


def test_backtest_of_a_model_gives_its_weights_and_what_they_brought(real: Any) -> None:
    from service.jobs.worker import perform

    client, state = real
    link = client.post("/api/v1/backtests", json={"model": "live"}).headers["location"]
    perform(state.settings, state.jobs, state.jobs.claim("here"))
    job = client.get(link).json()
    assert job["status"] == "succeeded", job["message"]
    result = client.get(job["links"]["result"]).json()
    for part in ("weights", "contributions"):
        assert set(result[part]["values"]) == {"KO", "GE", "IBM", "XOM"}
        assert result[part]["dates"] == result["equity"]["dates"]


def test_symbols_that_the_run_was_not_trained_on(real: Any, trained_home: Path) -> None:
    client, state = real
    close = state.snapshots.get("small").field("close")
    wide = Prices.from_frames("wide", close=close.assign(NEW=close["GE"] * close["KO"]))
    SnapshotStore(trained_home).save(wide, "wide", provider={"name": "test"})
    symbols = ("XOM", "NEW", "KO")
    body = {"model": "live", "data": "wide", "symbols": symbols, "allow_stale": True}
    answer = client.post("/api/v1/allocations", json=body).json()
    policy = load_trained(trained_home / "runs" / "first").on_symbols(symbols)
    expected = policy.decide(wide.select(symbols), wide.dates[-1], np.zeros((1, 3)))[:, 0]
    assert list(answer["per_seed_spread"].values()) == expected.std(axis=0).tolist()
    assert answer["untrained"] == ["NEW"]


def test_model_answer_has_the_verdict(real: Any, trained_home: Path) -> None:
    document = json.loads((trained_home / "runs" / "first" / "metrics.json").read_text())
    answer = real[0].get("/api/v1/models/live").json()
    assert answer["verdict"] == verdict(document).sentence
    assert "equal weight" in answer["verdict"]


def test_model_folder_holds_what_inference_needs_and_no_training_state(real: Any) -> None:
    _, state = real
    promoted = state.registry.current("live")
    folder = state.registry.path("live", promoted.version)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert "agent.safetensors" in names
    assert not names & {"training.safetensors", "progress.jsonl", "equity.parquet", "report.html"}


def gaps(prices: Prices) -> Prices:
    """The prices without KO in single sessions, without GE for a while, and without IBM for good."""
    close = prices.field("close").copy()
    for symbol, rows in {"KO": [-20, -15, -1], "GE": range(-18, -3), "IBM": range(-8, 0)}.items():
        close.iloc[list(rows), close.columns.get_loc(symbol)] = np.nan
    return Prices.from_frames("gaps", close=close)


@pytest.mark.parametrize("gappy", [False, True])
def test_replaying_the_backtest_through_the_service_gives_its_weights(
    real: Any, trained_home: Path, gappy: bool
) -> None:
    """Asked on each day with what the backtest held at that close, the service decides what it decided.

    Without an order, and where a symbol did not trade, the answer is what is held.
    """
    from trading_app.backtesting.backtest import backtest

    client, state = real
    prices = state.snapshots.get("small")
    if gappy:
        prices = gaps(prices)
        SnapshotStore(trained_home).save(prices, "gaps", provider={"name": "test"})
    policy = load_trained(trained_home / "runs" / "first")
    start, end = prices.dates[-25], prices.dates[-1]
    targets, _ = policy.weights(prices, start, end)
    assert not prices.has_opens  # filled at the close, so that what is held then is what the fill left
    options = {"costs": policy.costs, "fill": policy.config.fill, "partial_orders": True}
    held = backtest(prices, targets, start=start, end=end, **options).weights
    assert targets.notna().any(axis=None)
    for day in targets.index[:-1]:
        body = {
            "model": "live",
            "data": "gaps" if gappy else "small",
            "as_of": str(day.date()),
            "holdings": {"weights": dict(zip(prices.symbols, held.loc[day].tolist(), strict=True))},
        }
        answer = client.post("/api/v1/allocations", json=body).json()
        traded = prices.field("close").loc[day].notna()
        assert answer.get("untraded", []) == list(traded.index[~traded])
        expected = targets.loc[day].where(traded).fillna(held.loc[day]).to_numpy()
        np.testing.assert_allclose(list(answer["weights"].values()), expected, rtol=0, atol=2e-6)


def test_decides_as_the_policy_does_in_a_backtest(real: Any, trained_home: Path) -> None:
    import torch

    _, state = real
    prices = state.snapshots.get("small")
    served = load_trained(trained_home / "runs" / "first")
    held = np.random.default_rng(0).uniform(-0.2, 0.2, (3, 4))
    batch = torch.from_numpy(held).expand(len(served.seeds), -1, -1)
    for day in (len(prices.dates) - 1, len(prices.dates) - 40):
        together = served.decide(prices, prices.dates[day], held)
        expected = served.targets(served.market(prices), day, batch)
        np.testing.assert_allclose(together, expected.numpy(), rtol=0, atol=1e-6)


def test_an_account_gets_the_same_bits_whoever_asks_beside_it(real: Any, trained_home: Path) -> None:
    _, state = real
    prices = state.snapshots.get("small")
    served = load_trained(trained_home / "runs" / "first")
    held = np.random.default_rng(1).uniform(-0.2, 0.2, (8, 4))
    together = served.decide(prices, prices.dates[-1], held)
    for place, weights in enumerate(held):
        alone = served.decide(prices, prices.dates[-1], weights[None])[:, 0]
        np.testing.assert_array_equal(together[:, place], alone)


def test_requests_at_one_moment_are_answered_as_if_alone(real: Any) -> None:
    client, state = real
    bodies = [
        {"model": "live", "as_of": "2022-07-15", "holdings": {"weights": {"KO": k / 40}}} for k in range(20)
    ]
    alone = [client.post("/api/v1/allocations", json=body).json()["weights"] for body in bodies]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda body: client.post("/api/v1/allocations", json=body), bodies * 3))
    assert [answer.json()["weights"] for answer in answers] == alone * 3
    assert len(state.audit.latest(limit=1000)) == 80


def test_answer_of_a_real_model_recomputes_to_the_bit(real: Any) -> None:
    client, state = real
    body = {"model": "live", "as_of": "2022-06-01", "holdings": {"weights": {"KO": 0.125}}}
    answer = client.post("/api/v1/allocations", json=body)
    record = state.audit.get(answer.json()["id"])
    fresh = create_app(state.settings).state.equitrade
    assert fresh.decisions.recompute(record) == answer.content
    fresh.close()


def test_weights_and_cash_sum_to_one(real: Any) -> None:
    client, state = real
    answer = client.post("/api/v1/allocations", json={"model": "live", "as_of": "2022-07-15"}).json()
    assert sum(answer["weights"].values()) + answer["cash"] == pytest.approx(1, abs=1e-12)
    assert answer["as_of"] == str(state.snapshots.get("small").dates[-1].date())


def test_models_and_runs_are_shown(real: Any) -> None:
    client, _ = real
    detail = client.get("/api/v1/models/live").json()
    assert detail["history_days"] > 4
    assert detail["out_of_sample"]["sharpe"]["low"] <= detail["out_of_sample"]["sharpe"]["high"]
    runs = client.get("/api/v1/runs").json()
    assert (runs["total"], {run["name"] for run in runs["runs"]}) == (2, {"first", "second"})
    assert client.get("/api/v1/runs/first").json()["metrics"]["strategies"]["agent"]["metrics"]
    assert client.get("/api/v1/runs/first/report").status_code == 404


def test_report_is_given_in_a_sandbox(real: Any, trained_home: Path) -> None:
    client, _ = real
    (trained_home / "runs" / "first" / "report.html").write_text("<p>a report</p>", encoding="utf-8")
    answer = client.get("/api/v1/runs/first/report")
    assert answer.text == "<p>a report</p>"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert "allow-same-origin" not in answer.headers["content-security-policy"]


def without(run: Path, name: str) -> None:
    path = run / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def edited(run: Path, file: str, *keys: str) -> None:
    content = json.loads((run / file).read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    (run / file).write_text(json.dumps(content))


def replaced(run: Path, member: str, value: object) -> None:
    content = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**content, member: value}))


SPOILT = {
    "no manifest": (lambda run: without(run, "manifest.json"), "manifest.json"),
    "not finished": (lambda run: edited(run, "manifest.json", "finished_at"), "incomplete"),
    "no backtest": (lambda run: without(run, "metrics.json"), "equitrade backtest"),
    "no checkpoint": (lambda run: without(run, "checkpoints"), "checkpoint"),
    "no symbols": (lambda run: edited(run, "manifest.json", "data", "symbols"), "symbols"),
    "no features": (lambda run: edited(run, "manifest.json", "features"), "features"),
    "other features": (lambda run: replaced(run, "features", ["returns"]), "was trained on the features"),
    "no agent in the metrics": (lambda run: edited(run, "metrics.json", "strategies", "agent"), "agent"),
    "damaged metrics": (lambda run: (run / "metrics.json").write_text("{"), "metrics.json"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_run_that_lacks_something_is_not_promoted(real: Any, trained_home: Path, case: str) -> None:
    spoil, reason = SPOILT[case]
    run = trained_home / "runs" / "second"
    spoil(run)
    _, state = real
    with pytest.raises(DataError, match=reason):
        state.registry.promote(run, "live")
    assert state.registry.current("live").run == "first"


def test_run_evaluated_on_days_it_learned_from_is_not_promoted(real: Any, trained_home: Path) -> None:
    run = trained_home / "runs" / "second"
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["start"] = "2021-06-01"
    (run / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(DataError, match="out of sample"):
        real[1].registry.promote(run, "live")


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("costs", {"half_spread_bps": 0.0}, "other costs"),
        ("fill", "next_open", "another fill"),
        ("start", "2022-06-01", "other dates"),
        ("end", "2022-06-01", "other dates"),
    ],
)
def test_evidence_of_other_costs_fill_or_dates_is_not_promoted(
    real: Any, trained_home: Path, member: str, value: Any, reason: str
) -> None:
    run = trained_home / "runs" / "second"
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["market"]["fill"] = "next_close"
    (run / "manifest.json").write_text(json.dumps(manifest))
    metrics = json.loads((run / "metrics.json").read_text())
    assert read_evidence(run).fill == "next_close"
    metrics[member] = {**metrics[member], **value} if member == "costs" else value
    (run / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(DataError, match=f"{reason} than the run; `equitrade backtest second`"):
        real[1].registry.promote(run, "live")


def test_damaged_checkpoint_is_not_promoted(real: Any, trained_home: Path) -> None:
    run = trained_home / "runs" / "second"
    file = next(run.glob("checkpoints/step-*/agent.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be loaded"):
        real[1].registry.promote(run, "live")
