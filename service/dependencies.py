"""Dependencies of routes, as annotated aliases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.keys import bearer_token
from service.problems import Problem
from service.schemas.common import NAME_PATTERN
from service.scopes import Principal
from service.state import State

_bearer = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key: `equitrade keys create --name NAME`."
)


async def get_state(request: Request) -> State:
    """The process's state; asynchronous, because anything else would be sent to a thread and back."""
    return cast(State, request.app.state.equitrade)


StateDep = Annotated[State, Depends(get_state)]


async def identify(request: Request, state: State) -> Principal:
    """Find who holds the key of a request and spend one of its requests.

    Raises
    ------
    Problem
        If there is no good key; after too many failures from one address ``too-many-requests``.
    """
    try:
        principal = await state.authenticate(bearer_token(request.headers.get("authorization")))
    except Problem:
        # Only failures are counted by address: behind a proxy, one bad client must not shut out the good
        # ones.
        state.rates.spend("failures", request.client.host if request.client else "-")
        raise
    log_fields(request)["key"] = principal.id
    state.rates.spend("requests", principal.id)
    return principal


def requires(scope: str) -> Callable[..., Awaitable[Principal]]:
    """Make the dependency that asks for a scope."""

    async def dependency(
        request: Request,
        state: StateDep,
        _scheme: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Principal:
        principal = await identify(request, state)
        if not principal.may(scope):
            raise Problem("insufficient-scope", f"this needs the scope {scope!r}", scope=scope)
        return principal

    return dependency


Reader = Annotated[Principal, Depends(requires("read"))]
Runner = Annotated[Principal, Depends(requires("run"))]

ModelId = Annotated[str, Path(pattern=NAME_PATTERN, description="Id of a model.")]
RunName = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of a run.")]
RecordId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id as given out.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most to give.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="How many to leave out first.")]

GUARDED = (
    "missing-key",
    "invalid-key",
    "expired-key",
    "revoked-key",
    "insufficient-scope",
    "too-many-requests",
    "not-ready",
    "time-limit",
)


def log_fields(request: Request) -> dict[str, str]:
    """Fields of the request's log line that a route may add to."""
    fields: dict[str, str] = request.scope["state"].setdefault("log", {})
    return fields
