"""Structured logs: one JSON object a line; keys, passwords and cookies never reach them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import pydantic_core

# A whole key, wherever a library might have put it.
_KEY = re.compile(r"eq_([0-9a-f]{12})_[A-Za-z0-9_-]+")
_PASSWORD = re.compile(r"(://[^:/@\s]+):[^@/\s]+@")
FIELDS = "equitrade_fields"


def redact(text: str) -> str:
    """Take the secret part out of every key and database URL in a text."""
    if "eq_" in text:
        text = _KEY.sub(r"eq_\1_***", text)
    return _PASSWORD.sub(r"\1:***@", text) if "://" in text else text


class JsonFormatter(logging.Formatter):
    """One line of JSON a record, with the fields that `event` was given."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, FIELDS, {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(_to_json(line))


def _time(created: float) -> str:
    second, rest = divmod(int(created * 1e3), 1000)
    return f"{_second(second)}.{rest:03d}+00:00"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    # Lines come by the thousand a second, and this is most of the time of one.
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _to_json(line: dict[str, Any]) -> str:
    try:
        return pydantic_core.to_json(line, fallback=str).decode()
    except ValueError:  # half a character, as a client may send; this one takes three times as long
        return json.dumps(line, default=str)


class TurnHandler(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of an event loop at once; elsewhere, and from warnings on, each at once.

    Eight requests that are answered together end in the same turn, and a write costs as much as a line's making.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record now and write it in this turn."""
        try:
            self._waiting.append(self.format(record) + self.terminator)
            if record.levelno < logging.WARNING and (loop := asyncio._get_running_loop()) is not None:
                if len(self._waiting) == 1:
                    loop.call_soon(self.flush)
            else:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        with self.lock or nullcontext():
            if self._waiting:
                text, self._waiting = "".join(self._waiting), []
                self.stream.write(text)
            super().flush()


def event(logger: logging.Logger, level: int, message: str, **fields: Any) -> None:
    """Log a message with structured fields."""
    if logger.isEnabledFor(level):
        # Not `Logger.log`, which looks for the line that calls: nobody shows it.
        record = logger.makeRecord(logger.name, level, "", 0, message, (), None, extra={FIELDS: fields})
        logger.handle(record)


def configure_logging(level: str) -> None:
    """Send every logger of this process to stderr as JSON lines; commands call it, imports never do."""
    handler = TurnHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("alembic").setLevel(logging.WARNING)
