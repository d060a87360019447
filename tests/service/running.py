"""The service in processes of its own, as `equitrade serve` starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

# As the console script, without the working directory on the module path.
SERVE = [sys.executable, "-P", "-c", "from service.cli.serve import app; app()"]


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


class Running:
    """A served home."""

    def __init__(self, home: Path, *options: str, folder: Path | None = None) -> None:
        self.home = home
        # A file of its own: a line of an earlier start must not be taken for one of this.
        self.log_path = home / f"serve-{time.monotonic_ns()}.log"
        self.log = self.log_path.open("ab")
        environment = {**os.environ, "EQUITRADE_HOME": str(home), "OMP_NUM_THREADS": "1"}
        environment["EQUITRADE_SERVICE__RATE_LIMIT"] = "1000000/minute"
        self.process = subprocess.Popen(
            [*SERVE, "--port", "0", *options], env=environment, stdout=self.log, stderr=self.log, cwd=folder
        )
        self.url = ""

    def begin(self) -> None:
        self.url = str(self._line("serving")["url"])
        self.wait_until_ready()

    def _line(self, message: str) -> dict[str, Any]:
        for _ in range(1200):
            for text in reversed(self.log_path.read_text().splitlines()):
                line = json.loads(text) if text.startswith("{") else {}
                if line.get("message") == message:
                    return line
            assert self.process.poll() is None, self.log_path.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no line {message!r}")

    def wait_until_ready(self) -> None:
        until = time.monotonic() + 90
        with httpx.Client(base_url=self.url, timeout=5) as client:
            while time.monotonic() < until:
                try:
                    if client.get("/ready").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.05)
        raise AssertionError(self.log_path.read_text()[-4000:])

    def children(self, module: str = "") -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(path.read_text().rpartition(")")[2].split()[1])
                command = (path.parent / "cmdline").read_text()
            except OSError:
                continue
            if parent == self.process.pid and module in command:
                found.append(int(path.parent.name))
        return found

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(60)
        self.log.close()
        return code
