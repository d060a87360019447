"""Dependencies of routes, as annotated aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, cast

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer

from service.auth.keys import bearer_token
from service.auth.scopes import Principal
from service.core.problems import Problem
from service.schemas.common import NAME_PATTERN
from service.state import State


async def get_state(request: Request) -> State:
    """Return the process's state; asynchronous, since FastAPI runs other functions on a thread."""
    return cast(State, request.app.state.equitrade)


StateDep = Annotated[State, Depends(get_state)]


async def identify(request: Request, state: State) -> Principal:
    """Authenticate a request, once, and count it for the rate limit.

    Raises `Problem` if there is no valid key; ``too-many-requests`` after too many requests or failures.
    """
    state_of_request: dict[str, Any] = request.scope["state"]
    principal: Principal | None = state_of_request.get("principal")
    if principal is not None:
        return principal
    try:
        token = bearer_token(request.headers.get("authorization"))
        principal = await state.authenticate(token)
    except Problem:
        # Only failures are counted by address: behind a proxy, one bad client must not shut out the others.
        state.rate_limits.spend("failures", request.client.host if request.client else "-")
        raise
    log_fields(request)["key"] = principal.id
    state.rate_limits.spend("requests", principal.id)
    state_of_request["principal"] = principal
    return principal


class KeyScheme(HTTPBearer):
    """Requires a key with a scope (None: any key), unless `optional`, and describes it in OpenAPI."""

    def __init__(self, scope: str | None, optional: Callable[[State], bool] = lambda _: False) -> None:
        text = "An API key: `equitrade keys create --name NAME`."
        super().__init__(auto_error=False, scheme_name="key", description=text)
        self._scope = scope
        self._optional = optional

    async def __call__(self, request: Request) -> Principal:  # type: ignore[override]
        """Return the owner of the request's key.

        Raises `Problem` as `identify` does; ``insufficient-scope`` if the key does not hold the scope.
        """
        state = await get_state(request)
        if self._optional(state):
            return Principal("-", "anybody", frozenset())
        principal = await identify(request, state)
        if self._scope is not None and not principal.may(self._scope):
            detail = f"this request needs a key with the scope {self._scope!r}"
            raise Problem("insufficient-scope", detail, scope=self._scope)
        return principal


Reader = Annotated[Principal, Security(KeyScheme("read"))]
Runner = Annotated[Principal, Security(KeyScheme("run"))]
Watcher = Annotated[Principal, Security(KeyScheme(None, lambda state: state.settings.service.public_metrics))]

ModelId = Annotated[str, Path(pattern=NAME_PATTERN, description="Id of a model.")]
RunName = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of a run.")]
RecordId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of an answer or job.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Largest number of items.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="Number of items to skip.")]

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
    """Return the fields of the request's log line, for a route to add to."""
    fields: dict[str, str] = request.scope["state"].setdefault("log", {})
    return fields
