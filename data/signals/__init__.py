"""Signals of one's own: imported beside prices, aligned to sessions without look-ahead, scaled as features."""
