"""Where prices come from: bundled datasets, files, Yahoo Finance."""
