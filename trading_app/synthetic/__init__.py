"""Synthetic markets with a known answer: planted signals and placebos."""
