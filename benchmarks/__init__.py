"""Speed and learning, measured side by side with peers; results are stored under ``benchmarks/results``."""
