"""Price data: providers, validated and hashed snapshots, causal features, leak-free splits."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.errors import DataError as DataError
    from data.features import DEFAULT_FEATURES as DEFAULT_FEATURES
    from data.features import FeatureTable as FeatureTable
    from data.features import compute as compute
    from data.features import market_features as market_features
    from data.loading import load_prices as load_prices
    from data.prices import Prices as Prices
    from data.snapshots.store import SnapshotStore as SnapshotStore
    from data.snapshots.store import home_directory as home_directory
    from data.splits import Split as Split
    from data.splits import chronological as chronological
    from data.splits import walk_forward as walk_forward

_HOMES = {
    "DataError": "data.errors",
    "DEFAULT_FEATURES": "data.features",
    "FeatureTable": "data.features",
    "compute": "data.features",
    "market_features": "data.features",
    "load_prices": "data.loading",
    "Prices": "data.prices",
    "Split": "data.splits",
    "chronological": "data.splits",
    "walk_forward": "data.splits",
    "SnapshotStore": "data.snapshots.store",
    "home_directory": "data.snapshots.store",
}

__all__ = [
    "DEFAULT_FEATURES",
    "DataError",
    "FeatureTable",
    "Prices",
    "SnapshotStore",
    "Split",
    "chronological",
    "compute",
    "home_directory",
    "load_prices",
    "market_features",
    "walk_forward",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'data' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
