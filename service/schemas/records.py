"""Answers about models, runs, jobs and the service itself, and requests for jobs."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from rl_core.agents import kind_names
from service.schemas.common import Answer, Day, Name, SnapshotName, Strict

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


def _known_agent(name: str) -> str:
    if name not in kind_names():
        raise ValueError(f"choose one of {', '.join(kind_names())}")
    return name


AgentName = Annotated[
    str, AfterValidator(_known_agent), Field(json_schema_extra={"enum": list(kind_names())})
]
"""Name of a kind of agent."""


class Health(Answer):
    """The process is alive."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(Answer):
    """The service can answer requests for allocations."""

    status: Literal["ready"] = "ready"
    models: list[str]


class Metric(Answer):
    """One out-of-sample figure and its interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class ModelSummary(Answer):
    """A promoted model."""

    id: str
    version: str
    run: str
    promoted_at: datetime
    agent: str
    symmetry: str
    seeds: int
    data: str
    symbols: list[str]
    trained_until: date | None = Field(description="Last day of the training and validation prices.")


class ModelDetail(ModelSummary):
    """A promoted model with its evidence."""

    data_hash: str
    features: list[str]
    history_days: int = Field(description="Sessions of prices that a decision needs.")
    fill: str
    verdict: str | None = Field(description="Comparison with the reference in one sentence.")
    agreement: str | None = Field(
        description="Agreement of the seeds in one sentence, and whether the model holds its base."
    )
    out_of_sample: dict[str, Metric]
    evaluated: dict[str, Any] = Field(description="Dates and costs of the evaluation.")
    notes: list[str]
    versions: list[str] = Field(description="Every version ever promoted, newest first.")


class ModelList(Answer):
    """The promoted models."""

    models: list[ModelSummary]


class RunSummary(Answer):
    """A run directory."""

    name: str
    status: Literal["training", "complete", "backtested", "incomplete"]
    created_at: str | None
    agent: str | None
    data: str | None
    seeds: int
    report: str | None = Field(description="Path of the HTML report, if there is one.")


class RunDetail(RunSummary):
    """A run with its manifest and metrics."""

    manifest: dict[str, Any]
    metrics: dict[str, Any] | None


class RunList(Answer):
    """Runs, newest first."""

    runs: list[RunSummary]
    total: int


class Job(Answer):
    """A background job."""

    id: str
    kind: str
    status: JobStatus
    progress: float = Field(ge=0, le=1)
    message: str
    attempt: int = Field(ge=0, description="Number of starts; more than one after a crash.")
    parameters: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class JobList(Answer):
    """Jobs, newest first."""

    jobs: list[Job]


class JobResult(Answer):
    """Result of a job."""

    model_config = ConfigDict(extra="allow")

    id: str
    kind: str


class AuditRecord(Answer):
    """One allocation or signal in the audit."""

    id: str
    created_at: datetime
    kind: str
    key_id: str
    request_id: str
    request_hash: str
    request: dict[str, Any]
    model: str = Field(validation_alias="model_id")
    version: str
    data_hash: str
    as_of: date
    answer: Annotated[dict[str, Any], BeforeValidator(json.loads)]


Seconds = Annotated[float, Field(strict=True, gt=0, le=86400, allow_inf_nan=False)]


class BacktestRequest(Strict):
    """Backtest a promoted model, a run or a baseline."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"strategy": "equal-weight", "data": "sp500-20", "start": "2020-01-01", "costs_bps": 5},
                {"model": "demo"},
            ]
        }
    )

    model: Name | None = None
    run: Name | None = None
    strategy: Name | None = Field(None, description="Name of a baseline.")
    data: SnapshotName | None = Field(None, description="Snapshot; for a baseline required.")
    start: Day | None = None
    end: Day | None = None
    costs_bps: Annotated[float, Field(strict=True, ge=0, le=1000, allow_inf_nan=False)] | None = Field(
        None, description="Commission and half spread together, in basis points of value traded."
    )
    store: bool = Field(
        False,
        description="Store the result as the backtest of the run, as `equitrade backtest RUN` does. Only for a run "
        "with its own prices, dates and costs.",
    )
    timeout_seconds: Seconds | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if sum(item is not None for item in (self.model, self.run, self.strategy)) != 1:
            raise ValueError("give exactly one of model, run and strategy")
        if self.strategy is not None and self.data is None:
            raise ValueError("a strategy needs data")
        if self.start and self.end and self.start > self.end:
            raise ValueError("start is after end")
        others = (self.data, self.start, self.end, self.costs_bps)
        if self.store and (self.run is None or any(item is not None for item in others)):
            raise ValueError(
                "only the backtest of a run with its own prices, dates and costs can be stored with it"
            )
        return self


class TrainingRequest(Strict):
    """Train a run, as `equitrade train` does."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "weekly", "data": "sp500-20", "agent": "relaxed", "steps": 1500}]
        }
    )

    name: Name = Field(description="Name of the new run.")
    data: SnapshotName
    signals: list[SnapshotName] | None = Field(
        None, min_length=1, max_length=16, description="Imported signals to use beside the prices."
    )
    agent: AgentName = "relaxed"
    seeds: int | None = Field(None, strict=True, ge=1, le=64)
    steps: int | None = Field(None, strict=True, ge=1, le=10_000_000)
    timeout_seconds: Seconds | None = None


class AuditList(Answer):
    """Answers in the audit, newest first."""

    records: list[AuditRecord]
