"""Random ids that sort by time."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """Return 32 hexadecimal digits: milliseconds since the epoch, then random bits, as in a UUID of version 7."""
    stamp = int(time.time() * 1e3).to_bytes(6, "big")
    return (stamp + os.urandom(10)).hex()
