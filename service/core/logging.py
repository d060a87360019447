"""Structured logs: one JSON object a line; keys, passwords and cookies never reach them."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import pydantic_core

# A whole key, in any message of any library.
_KEY = re.compile(r"eq_([0-9a-f]{12})_[A-Za-z0-9_-]+")
_PASSWORD = re.compile(r"(://[^:/@\s]+):[^@/\s]+@")
FIELDS = "equitrade_fields"


def redact(text: str) -> str:
    """Return a text without the secret parts of keys and database URLs."""
    if "eq_" in text:
        text = _KEY.sub(r"eq_\1_***", text)
    return _PASSWORD.sub(r"\1:***@", text) if "://" in text else text


class JsonFormatter(logging.Formatter):
    """One line of JSON a record, with the fields passed to `event`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, FIELDS, {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(_to_json(line))


def _to_json(line: dict[str, Any]) -> str:
    try:
        return pydantic_core.to_json(line, fallback=str).decode()
    except ValueError:  # a lone surrogate, as a client may send
        return json.dumps(line, default=str)


def event(logger: logging.Logger, level: int, message: str, **fields: Any) -> None:
    """Log a message with structured fields."""
    logger.log(level, message, extra={FIELDS: fields})


def configure_logging(level: str) -> None:
    """Send every logger of this process to stderr as JSON lines; commands call it, imports never do."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("alembic").setLevel(logging.WARNING)
