"""Request bodies in JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class JsonRoute(APIRoute):
    """A route with a JSON body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        answer = super().get_route_handler()

        async def read_and_answer(request: Request) -> Response:
            # Read here, a client that has left raises ClientDisconnect; FastAPI would answer it with status 400.
            await request.body()
            return await answer(request)

        return read_and_answer
