"""Portfolios: markets for training, costs, backtests, baselines, statistics and reports.

Names are imported when they are first used, so that commands start quickly; `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
