from .app import create_app as create_app
from .client import Client as Client
from .client import ServiceProblem as ServiceProblem
from .core.settings import Settings as Settings
from .core.settings import load_settings as load_settings

__all__ = [
    "Client",
    "ServiceProblem",
    "Settings",
    "create_app",
    "load_settings",
]
