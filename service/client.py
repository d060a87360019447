"""A client in Python: ``Client("http://127.0.0.1:8000", key).allocate("demo")``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx


class ServiceProblem(Exception):
    """A problem that the service answered with; `kind` is stable, `body` is the whole problem document."""

    def __init__(self, body: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(f"{body.get('title')}: {body.get('detail')}")
        self.kind = str(body.get("type", "")).rpartition(":")[2]
        self.status = int(body.get("status", 0))
        self.body = dict(body)
        self.retry_after = retry_after


class Client:
    """Client of one service with one key.

    Parameters
    ----------
    url : str
        Address of the service.
    key : str
        An API key.
    timeout : float
        Seconds to wait for an answer.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """Return the promoted models."""
        return list(self._call("GET", "/models")["models"])

    def model(self, name: str) -> dict[str, Any]:
        """Return a model and its evidence."""
        return self._call("GET", f"/models/{name}")

    def allocate(self, model: str, **request: Any) -> dict[str, Any]:
        """Return target weights; keywords are members of the request, such as as_of, data, symbols and holdings."""
        return self._call("POST", "/allocations", {"model": model, **request})

    def signals(self, model: str, **request: Any) -> dict[str, Any]:
        """Return scores, sides and ranks behind the target weights."""
        return self._call("POST", "/signals", {"model": model, **request})

    def backtest(self, **request: Any) -> dict[str, Any]:
        """Start a backtest of a model, run or strategy; return the job."""
        return self._call("POST", "/backtests", request)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return the state of a job."""
        return self._call("GET", f"/jobs/{job_id}")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job."""
        return self._call("DELETE", f"/jobs/{job_id}")

    def result(self, job_id: str, *, wait: float = 600.0, poll: float = 0.5) -> dict[str, Any]:
        """Wait for a job, at most so many seconds, and return its result."""
        until = time.monotonic() + wait
        while self.job(job_id)["status"] in ("queued", "running") and time.monotonic() < until:
            time.sleep(poll)
        return self._call("GET", f"/jobs/{job_id}/result")

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs, newest first."""
        return list(self._call("GET", "/runs")["runs"])

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        if answer.is_error:
            problem = "json" in answer.headers.get("content-type", "")
            details = answer.json() if problem else {"status": answer.status_code, "detail": answer.text}
            raise ServiceProblem(details, float(answer.headers.get("retry-after", 0)) or None)
        return dict(answer.json())
