"""The signal service: a REST interface that programs may act on; its registry, audit, jobs and dashboards.

Nothing is imported until it is used, so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.app import create_app
    from service.client import Client, ServiceProblem
    from service.core.settings import Settings, load_settings

__all__ = ["Client", "ServiceProblem", "Settings", "create_app", "load_settings"]

_MODULES = {
    "Client": "service.client",
    "ServiceProblem": "service.client",
    "Settings": "service.core.settings",
    "create_app": "service.app",
    "load_settings": "service.core.settings",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
