"""Compiled kernels for decoding on a CPU."""
