"""Signals of one's own: imported beside prices, aligned to their sessions without look-ahead, and scaled as features."""
