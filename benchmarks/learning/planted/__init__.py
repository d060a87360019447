"""The planted-market benchmark."""
