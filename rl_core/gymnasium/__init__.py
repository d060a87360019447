"""Gymnasium environments with a declared symmetry: training in them, and tests of what was declared.

Names are imported when they are first used, so that commands start quickly; `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
