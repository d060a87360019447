"""Gymnasium environments over the market."""
