"""Backtests: the ledger that defines a net asset value, fast forms of it, baselines and results."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
