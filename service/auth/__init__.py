"""API keys, users, scopes and rate limits."""
