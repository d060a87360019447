"""Checks of imported tables: findings, repairs and the report."""
