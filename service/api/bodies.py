"""Request bodies: JSON and forms, read within limits and off the event loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

import pydantic_core
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from service.api.dependencies import get_state, identify
from service.core.problem_handlers import is_json
from service.core.problems import Problem
from service.schemas.decisions import MAX_DAYS, MAX_SYMBOLS

# Larger bodies are parsed one after another on a thread: parsing holds the interpreter's lock.
SMALL_BODY_BYTES = 64 * 2**10
MAX_FORM_BYTES = 64 * 2**10
_MAX_FORM_FIELDS = 100
# Members, and objects and lists, of a whole body; prices of MAX_SYMBOLS in six fields have 12,000.
_MAX_MEMBERS = 40_000


class JsonRoute(APIRoute):
    """A route whose endpoint has a parameter ``body``, a pydantic model.

    FastAPI parses and validates bodies on the event loop, and collects an error for each wrong value. Here the number
    of members is limited first, and large bodies are parsed on a thread.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        answer = super().get_route_handler()
        model = get_type_hints(self.endpoint).get("body")

        async def read_and_answer(request: Request) -> Response:
            # Read here, a client that has left raises ClientDisconnect; FastAPI would answer it with status 400.
            content = await request.body()
            if model is None or not content or not is_json(request):
                return await answer(request)
            state = await get_state(request)
            await identify(request, state)  # nothing is parsed without a key
            try:
                if len(content) <= SMALL_BODY_BYTES:
                    parsed = parse_json(model, content)
                else:
                    parsed = await state.run_large(parse_json, model, content)
            except RequestValidationError:
                with suppress(RequestValidationError):
                    await answer(_ParsedRequest(request, None))  # a key without the scope is refused first
                raise
            return await answer(_ParsedRequest(request, parsed))

        return read_and_answer


class _ParsedRequest(Request):
    """A request whose body is parsed; FastAPI accepts an instance of the model as it is."""

    def __init__(self, request: Request, parsed: BaseModel | None) -> None:
        super().__init__(request.scope, request.receive)
        self._parsed = parsed

    async def body(self) -> bytes:
        """Return a placeholder: only `json` is used."""
        return b"{}"

    async def json(self) -> Any:
        """Return the parsed body."""
        return self._parsed


def parse_json(model: type[BaseModel], content: bytes) -> BaseModel:
    """Parse and validate a JSON body.

    Raises `RequestValidationError` if the body is not valid JSON or does not fit the model.
    """
    try:
        encoding = json.detect_encoding(content)
        if encoding != "utf-8":
            content = content.decode(encoding).encode()
        # Counted in the text, since a Python object for each takes seconds.
        if max(content.count(b":"), content.count(b"["), content.count(b"{")) > _MAX_MEMBERS:
            raise _too_long(
                f"the body has too many members, objects or lists; at most {_MAX_MEMBERS} are allowed"
            )
        value = pydantic_core.from_json(content)
    except ValueError as error:
        raise RequestValidationError(
            [{"type": "json_invalid", "loc": ("body",), "msg": str(error)}]
        ) from None
    _check_sizes(value)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from None


def _check_sizes(value: Any) -> None:
    """Limit the length of every list and the number of members of every object."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if len(item) > MAX_SYMBOLS:
                raise _too_long(f"an object has {len(item)} members; at most {MAX_SYMBOLS} are allowed")
            waiting.extend(child for child in item.values() if isinstance(child, dict | list))
        elif isinstance(item, list):
            if len(item) > MAX_DAYS:
                raise _too_long(f"a list has {len(item)} items; at most {MAX_DAYS} are allowed")
            waiting.extend(child for child in item if isinstance(child, dict | list))


def _too_long(message: str) -> RequestValidationError:
    return RequestValidationError([{"type": "too_long", "loc": ("body",), "msg": message}])


async def read_form(request: Request) -> FormData:
    """Read a URL-encoded form. Raises `Problem` ``body-too-large`` or ``invalid-request``."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(
            "invalid-request", "send the form with 'Content-Type: application/x-www-form-urlencoded'"
        )
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_FORM_BYTES:
            headers = {"Connection": "close"}
            raise Problem("body-too-large", f"a form may have {MAX_FORM_BYTES} bytes", headers=headers)
    try:
        pairs = parse_qsl(content.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        detail = f"a form may have {_MAX_FORM_FIELDS} fields"
        raise Problem("invalid-request", detail) from None
    return FormData(dict(pairs))
