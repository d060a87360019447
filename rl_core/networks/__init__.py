"""Actors and critics, generated from a symmetry."""
