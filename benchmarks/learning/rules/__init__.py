"""Rules of relaxation that were tried beside the one that is used, and their comparison."""
