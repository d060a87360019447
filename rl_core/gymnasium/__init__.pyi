from .env import GymnasiumEnv as GymnasiumEnv
from .symmetry_check import EntryDeviation as EntryDeviation
from .symmetry_check import SymmetryCheck as SymmetryCheck
from .symmetry_check import check_symmetry as check_symmetry

__all__ = ["EntryDeviation", "GymnasiumEnv", "SymmetryCheck", "check_symmetry"]
