"""Run folders: configuration, backtests, locks and provenance."""
