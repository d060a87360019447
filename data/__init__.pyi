from .errors import DataError as DataError
from .features import DEFAULT_FEATURES as DEFAULT_FEATURES
from .features import FeatureTable as FeatureTable
from .features import compute as compute
from .features import market_features as market_features
from .loading import load_prices as load_prices
from .prices import Prices as Prices
from .snapshots.store import SnapshotStore as SnapshotStore
from .snapshots.store import home_directory as home_directory
from .splits import Split as Split
from .splits import chronological as chronological
from .splits import walk_forward as walk_forward

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
