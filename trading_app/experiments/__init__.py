"""Experiments: training, walk-forward, tuning, comparison."""
