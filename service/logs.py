"""Structured logs: one JSON object a line; keys, passwords and cookies never reach them."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

# A whole key, wherever a library might have put it.
_KEY = re.compile(r"eq_([0-9a-f]{12})_[A-Za-z0-9_-]+")
_PASSWORD = re.compile(r"(://[^:/@\s]+):[^@/\s]+@")
FIELDS = "equitrade_fields"


def redact(text: str) -> str:
    """Take the secret part out of every key and database URL in a text."""
    return _PASSWORD.sub(r"\1:***@", _KEY.sub(r"eq_\1_***", text))


class JsonFormatter(logging.Formatter):
    """One line of JSON a record, with the fields that `event` was given."""

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
        return redact(json.dumps(line, default=str))


def event(logger: logging.Logger, level: int, message: str, **fields: Any) -> None:
    """Log a message with structured fields."""
    if logger.isEnabledFor(level):
        logger.log(level, message, extra={FIELDS: fields})


def configure_logging(level: str) -> None:
    """Send every logger of this process to stderr as JSON lines; commands call it, imports never do."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("alembic").setLevel(logging.WARNING)
