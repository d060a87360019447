"""Bounds of approximate equivariance, exact for tabular problems."""
