"""What the service is measured against: one FastAPI endpoint that reads the same body and answers as many bytes.

No key, no limits, no log, no policy, no audit. ``python -m benchmarks.speed.service_bare DESCRIPTOR FILE`` accepts
from a socket that its parent opened and answers with the content of a file.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

from service.api.schemas.decisions import AllocationRequest


def create_bare(content: bytes) -> FastAPI:
    """Make the application."""
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post("/api/v1/allocations")
    async def allocate(body: AllocationRequest) -> Response:
        return Response(content, media_type="application/json")

    return app


def main() -> None:
    """Serve until stopped."""
    app = create_bare(Path(sys.argv[2]).read_bytes())
    config = uvicorn.Config(app, log_level="critical", access_log=False, server_header=False)
    uvicorn.Server(config).run([socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
