"""DeepMind Control as batched environments."""
