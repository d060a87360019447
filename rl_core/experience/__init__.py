"""Transitions to learn from: the replay of what was done, or made from a known history."""
