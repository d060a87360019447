"""Contents of dashboard pages."""
