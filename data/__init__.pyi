from .errors import DataError as DataError
from .features import DEFAULT_FEATURES as DEFAULT_FEATURES
from .features import FeatureTable as FeatureTable
from .features import compute_features as compute_features
from .features import market_features as market_features
from .loading import load_prices as load_prices
from .prices import Prices as Prices
from .snapshots.store import SnapshotStore as SnapshotStore
from .snapshots.store import home_directory as home_directory
from .splits import ChronologicalSplitter as ChronologicalSplitter
from .splits import Split as Split
from .splits import WalkForwardSplitter as WalkForwardSplitter
from .splits import chronological_split as chronological_split

__all__ = [
    "DEFAULT_FEATURES",
    "ChronologicalSplitter",
    "DataError",
    "FeatureTable",
    "Prices",
    "SnapshotStore",
    "Split",
    "WalkForwardSplitter",
    "chronological_split",
    "compute_features",
    "home_directory",
    "load_prices",
    "market_features",
]
