"""Errors as RFC 9457 problem details, with stable types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from data.errors import DataError

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:equitrade:problem:"


@dataclass(frozen=True)
class Kind:
    """Kind of problem: its HTTP status and its title."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "malformed-request": Kind(400, "The request is not valid HTTP"),
    "malformed-json": Kind(400, "The body is not valid JSON"),
    "missing-key": Kind(401, "No API key was given"),
    "invalid-key": Kind(401, "The API key is not known"),
    "expired-key": Kind(401, "The API key has expired"),
    "revoked-key": Kind(401, "The API key was revoked"),
    "insufficient-scope": Kind(403, "The API key lacks a scope"),
    "csrf": Kind(403, "The form was not sent from this service"),
    "not-found": Kind(404, "This path does not exist"),
    "unknown-model": Kind(404, "No model of this id is promoted"),
    "unknown-data": Kind(404, "No snapshot of this name exists"),
    "unknown-signals": Kind(404, "The signals that the model needs do not exist"),
    "unknown-job": Kind(404, "No job of this id exists"),
    "unknown-run": Kind(404, "No run of this name exists"),
    "no-report": Kind(404, "The run has no report yet"),
    "method-not-allowed": Kind(405, "The path does not support this method"),
    "job-not-finished": Kind(409, "The job has no result"),
    "retired-model": Kind(410, "The model was retired"),
    "body-too-large": Kind(413, "The body is larger than allowed"),
    "unsupported-media-type": Kind(415, "The body is not JSON"),
    "invalid-request": Kind(422, "The request is not valid"),
    "invalid-prices": Kind(422, "The prices cannot be used"),
    "invalid-holdings": Kind(422, "The holdings cannot be used"),
    "limits-conflict": Kind(422, "The model's limits cannot all be met"),
    "unknown-symbol": Kind(422, "A symbol does not belong to the model"),
    "missing-symbol": Kind(422, "Prices of a symbol of the model are missing"),
    "unsupported-symbols": Kind(422, "The model cannot decide on these symbols"),
    "insufficient-history": Kind(422, "The price history is too short"),
    "stale-data": Kind(422, "The prices are older than allowed"),
    "stale-signals": Kind(422, "The signals that the model needs have ended"),
    "too-many-requests": Kind(429, "The rate limit is exceeded"),
    "head-too-large": Kind(431, "Request line and headers are larger than allowed"),
    "internal-error": Kind(500, "Unexpected error"),
    "time-limit": Kind(503, "The request took too long"),
    "not-ready": Kind(503, "The service is not ready"),
    "model-unavailable": Kind(503, "The model's files cannot be used"),
}


Responses = dict[int | str, dict[str, Any]]


class Problem(DataError):
    """A problem of `KINDS` to answer with; the command line prints its detail, which holds no secrets.

    `advice` is for programs; pages show a link instead. `headers` are those of the answer, such as ``Retry-After``;
    `extra` are further members of the problem, such as row, symbol or limit.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        advice: str = "",
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.advice = advice
        self.headers = headers or {}
        self.extra = extra

    @property
    def status(self) -> int:
        """HTTP status."""
        return KINDS[self.kind].status

    def body(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the members of the problem document."""
        kind = KINDS[self.kind]
        members = {"type": PREFIX + self.kind, "title": kind.title, "status": kind.status}
        more = {"request_id": request_id} if request_id else {}
        detail = f"{self.detail}; {self.advice}" if self.advice else self.detail
        return members | {"detail": detail} | self.extra | more

    def response(self, request_id: str | None = None) -> Response:
        """Return the HTTP answer."""
        content = json.dumps(self.body(request_id), allow_nan=False).encode()
        return Response(content, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def time_limit(seconds: float) -> Problem:
    """Return the problem of a request that takes too long."""
    return Problem("time-limit", f"no answer within {seconds:g} s")


class ProblemBody(BaseModel):
    """Problem details (RFC 9457); `type` names the kind and is stable."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": PREFIX + "stale-data",
                    "title": KINDS["stale-data"].title,
                    "status": 422,
                    "detail": "prices end 2022-12-28, 40 days before 2023-02-06; at most 7 are allowed",
                }
            ]
        },
    )

    type: str = Field(description="URN of the kind of problem.", pattern="^urn:equitrade:problem:[a-z-]+$")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    request_id: str | None = None


def described(*kinds: str) -> Responses:
    """Return OpenAPI descriptions of the problems of a route, grouped by status."""
    answers: Responses = {}
    for name in kinds:
        kind = KINDS[name]
        line = f"`{name}`: {kind.title}."
        if kind.status in answers:
            answers[kind.status]["description"] += " " + line
            continue
        schema = {"$ref": "#/components/schemas/Problem"}
        answers[kind.status] = {"description": line, "content": {MEDIA_TYPE: {"schema": schema}}}
        if kind.status == 429:
            seconds = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
            answers[429]["headers"] = {"Retry-After": seconds}
    return answers
