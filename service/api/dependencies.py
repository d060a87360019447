"""Dependencies of routes, as annotated aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer

from service.auth.keys import bearer_token
from service.auth.scopes import Principal
from service.core.problems import Problem
from service.schemas.common import NAME_PATTERN
from service.state import State


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
        token = bearer_token(request.headers.get("authorization"))
        principal = await state.run(state.keys.authenticate, token)
    except Problem:
        # Only failures are counted by address: behind a proxy, one bad client must not shut out the others.
        state.rate_limits.spend("failures", request.client.host if request.client else "-")
        raise
    log_fields(request)["key"] = principal.id
    state.rate_limits.spend("requests", principal.id)
    return principal


class KeyScheme(HTTPBearer):
    """Asks for a key with a scope, and describes that in OpenAPI.

    One dependency does both: each further one would be resolved anew at each request.

    Parameters
    ----------
    scope : str
        What the key must hold; None where any key will do.
    optional : callable, optional
        Tells of a process whether no key is needed in it.
    """

    def __init__(self, scope: str | None, optional: Callable[[State], bool] = lambda _: False) -> None:
        text = "An API key: `equitrade keys create --name NAME`."
        super().__init__(auto_error=False, scheme_name="key", description=text)
        self._scope = scope
        self._optional = optional

    async def __call__(self, request: Request) -> Principal:  # type: ignore[override]
        """Find who asks."""
        return await self.admit(request, await get_state(request))

    async def admit(self, request: Request, state: State) -> Principal:
        """Find who asks.

        Raises
        ------
        Problem
            As `identify`; ``insufficient-scope`` if the key does not hold the scope.
        """
        if self._optional(state):
            return Principal("-", "anybody", frozenset())
        principal = await identify(request, state)
        if self._scope is not None and not principal.may(self._scope):
            detail = f"this needs the scope {self._scope!r}"
            raise Problem("insufficient-scope", detail, scope=self._scope)
        return principal


READ_KEY = KeyScheme("read")
Reader = Annotated[Principal, Security(READ_KEY)]
Runner = Annotated[Principal, Security(KeyScheme("run"))]
Watcher = Annotated[Principal, Security(KeyScheme(None, lambda state: state.settings.service.public_metrics))]

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
