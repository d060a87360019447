"""Attacks on a run, or on prices with signals: changed prices on which the right answer is known."""
