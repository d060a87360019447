"""Suites of control experiments and their runner."""
