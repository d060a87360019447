"""Measures of performance, their significance, and tests of the symmetry of returns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
