"""Studies: several kinds of agents on several datasets, walk-forward, and the comparisons that answer which is best."""
