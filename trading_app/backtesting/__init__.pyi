from . import baselines as baselines

__all__ = ["baselines"]
