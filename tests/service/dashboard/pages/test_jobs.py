"""The page *Jobs*: forms that start what the API starts, and what became of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trading_app.runs.run import open_run


def test_backtest_is_queued_as_the_api_would(desk: Any) -> None:
    fields = {"subject": "strategy:equal-weight", "data": "toy", "start": "2024-01-15", "costs_bps": "5"}
    answer = desk.post("/dashboard/jobs/backtest", **fields)
    assert answer.status_code == 303
    record = desk.service.state.jobs.newest()[0]
    assert answer.headers["location"] == f"/dashboard/jobs/{record.id}"
    expected = {"strategy": "equal-weight", "data": "toy", "start": "2024-01-15", "costs_bps": 5.0}
    assert (record.kind, record.parameters, record.created_by) == ("backtest", expected, "user:ann")


def test_model_is_fixed_to_its_version(desk: Any) -> None:
    desk.post("/dashboard/jobs/backtest", subject="model:toy")
    version = desk.service.state.registry.current("toy").version
    assert desk.service.state.jobs.newest()[0].parameters["version"] == version


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"subject": "strategy:equal-weight"}, "A strategy needs data"),
        ({"subject": "strategy:equal-weight", "data": "nope"}, "no snapshot"),
        ({"subject": "run:nope"}, "no run"),
        ({"subject": ""}, "Extra inputs"),
        ({"subject": "run:alpha", "costs_bps": "many"}, "Costs:"),
        ({"subject": "run:alpha", "costs_bps": "-1"}, "Costs:"),
        ({"subject": "run:alpha", "start": "2024-13-01"}, "From:"),
        ({"subject": "run:alpha", "start": "2020-02-01", "end": "2020-01-01"}, "Start is after end"),
    ],
)
def test_form_that_cannot_be_used_comes_back_with_the_reason(
    desk: Any, fields: dict[str, str], reason: str
) -> None:
    answer = desk.post("/dashboard/jobs/backtest", **fields)
    assert 400 <= answer.status_code < 500
    assert reason in answer.text
    assert desk.service.state.jobs.newest() == []
    if fields.get("start"):
        assert f'value="{fields["start"]}"' in answer.text


def test_training_is_queued(desk: Any) -> None:
    fields = {"name": "weekly", "data": "toy", "agent": "exact", "seeds": "2", "steps": ""}
    assert desk.post("/dashboard/jobs/training", **fields).status_code == 303
    record = desk.service.state.jobs.newest()[0]
    assert (record.kind, record.parameters) == (
        "training",
        {"name": "weekly", "data": "toy", "agent": "exact", "seeds": 2},
    )
    answer = desk.post("/dashboard/jobs/training", name="../x", data="toy")
    assert (answer.status_code, "Name:" in answer.text) == (422, True)


def test_who_may_only_look_starts_and_cancels_nothing(service: Any, sign_in: Any) -> None:
    desk = sign_in(service, ("read",))
    assert "not start them" in desk.get("/dashboard/jobs")
    assert desk.post("/dashboard/jobs/backtest", subject="model:toy").status_code == 403
    assert desk.post("/dashboard/jobs/training", name="x", data="toy").status_code == 403
    job = service.state.jobs.submit("backtest", {}, by="test", timeout=9.0)
    assert desk.post(f"/dashboard/jobs/{job.id}/cancel").status_code == 403
    assert service.state.jobs.get(job.id).status == "queued"


def test_job_is_watched_and_its_result_opened(desk: Any, working: Any, until: Any) -> None:
    place = desk.post("/dashboard/jobs/backtest", subject="strategy:equal-weight", data="toy").headers[
        "location"
    ]
    assert "data-poll" in desk.get(place)
    assert desk.service.client.get(f"{place}/progress").headers["x-done"] == "no"
    working(desk.service)
    until(lambda: desk.service.client.get(f"{place}/progress?figures=0").headers["x-done"] == "yes")
    text = desk.get(place)
    assert "succeeded" in text
    assert "data-poll" not in text
    for name in ("equity", "drawdown", "monthly", "waterfall", "weights", "contribution"):
        assert f'data-figure="{name}"' in text
        assert desk.figure(f"{place}/figures/{name}.json")["data"]
    equity = pd.read_csv(io.StringIO(desk.get(f"{place}/figures/equity.csv")), index_col=0)
    assert list(equity.columns) == ["equal-weight"]
    assert equity.iloc[0, 0] == 1
    assert "Backtest of equal-weight" in desk.get("/dashboard/jobs/rows")


def test_failed_job_says_why(desk: Any, working: Any, until: Any) -> None:
    job = desk.service.state.jobs.submit(
        "backtest", {"strategy": "nope", "data": "toy"}, by="test", timeout=60.0
    )
    working(desk.service)
    until(lambda: desk.service.state.jobs.get(job.id).status == "failed")
    text = desk.get(f"/dashboard/jobs/{job.id}")
    assert "not found; available" in text
    assert "start it again" in text


def test_job_can_be_cancelled(desk: Any) -> None:
    place = desk.post("/dashboard/jobs/backtest", subject="run:alpha").headers["location"]
    assert desk.post(f"{place}/cancel").headers["location"] == place
    assert "cancelled before it started" in desk.get(place)


def test_training_shows_its_curves_while_it_goes_on(desk: Any) -> None:
    jobs = desk.service.state.jobs
    job = jobs.submit("training", {"name": "fresh", "data": "toy"}, by="test", timeout=60.0)
    jobs.claim("test")
    jobs.progress(job.id, 1, 0.5, "step 300")
    text = desk.get(f"/dashboard/jobs/{job.id}")
    assert "data-live" in text
    assert "progress?figures=training-eval-sharpe%20training-critic-loss%20training-alpha" in text
    assert "step 300" in desk.get(f"/dashboard/jobs/{job.id}/progress")
    # The page reads itself again once there are other figures than it shows.
    for figures, done in (
        ("training-eval-sharpe training-critic-loss training-alpha", "no"),
        ("training-critic-loss training-alpha training-entropy", "yes"),
    ):
        answer = desk.service.client.get(f"/dashboard/jobs/{job.id}/progress", params={"figures": figures})
        assert answer.headers["x-done"] == done
    jobs.succeed(job.id, 1, {"run": "fresh", "stopped": None})
    assert "/dashboard/run?run=fresh" in desk.get(f"/dashboard/jobs/{job.id}")


def test_unknown_job_is_told(desk: Any) -> None:
    assert "See every job" in desk.get("/dashboard/jobs/" + "0" * 32, 404)
    assert "See every job" in desk.get("/dashboard/jobs/nope", 404)


@pytest.mark.parametrize("store", [True, False])
def test_backtest_is_stored_with_its_run_only_on_request(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: bool
) -> None:
    from service.jobs.tasks import TASKS, JobContext
    from trading_app.runs.backtests import load_backtest

    asked = []

    def backtest_run(run: Any, **_: Any) -> Any:
        asked.append(run.path)
        return load_backtest(open_run("alpha", desk.home))

    monkeypatch.setattr("trading_app.experiments.out_of_sample.backtest_run", backtest_run)
    monkeypatch.setattr("service.jobs.tasks.inference_files", lambda source: ["manifest.json"])
    settings = desk.service.state.settings
    context = JobContext(settings, tmp_path / "job", lambda share, line: None)
    TASKS["backtest"]({"run": "alpha", "store": store}, context)
    own = settings.home / "runs" / "alpha"
    assert asked == [own if store else tmp_path / "job" / "alpha"]
