"""Fused gradients of the SAC losses: the same numbers as by autograd, in fewer and larger operations."""
