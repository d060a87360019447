"""One HTTP worker: ``python -m service.server.http_worker FD`` accepts from a socket that its parent opened.

uvicorn's own workers do not stop when their parent is killed, and receive their settings by pickle.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from functools import partial
from typing import cast

import uvicorn

from service.app import create_app
from service.core.logging import configure_logging
from service.core.processes import receive_settings, when_parent_dies
from service.core.settings import Settings
from service.server.limits import LimitedProtocol


class _Server(uvicorn.Server):
    """Excludes the objects of the start, about a million that stay, from later garbage collection."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then freeze the objects in memory."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()


def make_server(settings: Settings) -> uvicorn.Server:
    """Return the server of the application."""
    service = settings.service
    app = create_app(settings)
    protocol = partial(
        LimitedProtocol, telemetry=app.state.equitrade.telemetry, head_seconds=service.request_seconds
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        http=cast(type[asyncio.Protocol], protocol),
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(service.shutdown_seconds),
        forwarded_allow_ips=service.forwarded_allow_ips,
        ssl_certfile=service.ssl_certfile,
        ssl_keyfile=service.ssl_keyfile,
    )
    return _Server(config)


def main() -> None:
    """Serve until stopped, or until the parent dies; requests in flight are finished."""
    settings = receive_settings()
    configure_logging(settings.service.log_level)
    server = make_server(settings)

    def stop() -> None:
        server.should_exit = True

    when_parent_dies(stop)
    server.run([socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
