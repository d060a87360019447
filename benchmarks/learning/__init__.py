"""Learning benchmarks with a known answer."""
