"""A route without FastAPI's general machinery, for the requests that programs send all day."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import lru_cache
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from service.api.dependencies import READ_KEY, get_state

__all__ = ["DirectRoute", "JsonBytes"]


class JsonBytes(Response):
    """An answer whose bytes are JSON already, with nothing to find out about them."""

    def __init__(self, content: bytes) -> None:
        self.body = content
        self.status_code = 200
        self.background = None
        length = str(len(content)).encode()
        self.raw_headers = [(b"content-length", length), (b"content-type", b"application/json")]


class DirectRoute(APIRoute):
    """A route whose endpoint takes ``body`` (a model), ``request``, ``state`` and ``reader``, and makes its response.

    FastAPI describes it as any other. It is answered by doing the same four things in a row: who asks, the
    body's bytes, the body's model, the endpoint. Resolving them as dependencies takes longer than the rest of the
    route together.
    """

    @property
    def model(self) -> type[BaseModel]:
        """What its body is."""
        found: type[BaseModel] = get_type_hints(self.endpoint)["body"]
        return found

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the function that answers a request."""
        endpoint, model = self.endpoint, self.model

        async def answer(request: Request) -> Response:
            state = await get_state(request)
            content = await _body(request)
            reader = await READ_KEY.admit(request, state)
            body = read(model, content, request.headers.get("content-type", ""))
            response: Response = await endpoint(body=body, request=request, state=state, reader=reader)
            return response

        return answer


async def _body(request: Request) -> bytes:
    """The body, most often in one message; Starlette's own reading costs as much as the body's model."""
    message = await request.receive()
    content: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await request.receive()
        content += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return content


def read(model: type[BaseModel], content: bytes, content_type: str) -> BaseModel:
    """Read a body as FastAPI does, with the errors that it raises.

    Raises
    ------
    RequestValidationError
        If the body is no JSON, or not what the model asks for.
    """
    if content and is_json(content_type):
        with suppress(ValidationError):
            # In one step. What it does not take is read again in two, for the errors that FastAPI gives.
            return model.model_validate_json(content)
    return _read_in_steps(model, content, content_type)


def _read_in_steps(model: type[BaseModel], content: bytes, content_type: str) -> BaseModel:
    given: Any = content
    if content and is_json(content_type):
        try:
            given = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RequestValidationError(
                [{"type": "json_invalid", "loc": ("body",), "msg": str(error)}]
            ) from None
    elif not content:
        raise RequestValidationError(
            [{"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}]
        )
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from None


@lru_cache(maxsize=64)
def is_json(content_type: str) -> bool:
    """Whether a ``Content-Type`` header announces JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
