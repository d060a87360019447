"""Speed benchmarks, side by side with peers."""
