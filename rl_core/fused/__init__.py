"""Hand-derived gradients: the same numbers as autograd, in fewer and larger operations."""
