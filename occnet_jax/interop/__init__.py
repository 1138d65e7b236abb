"""Weights of other programs: PyTorch's file format, layouts of published systems."""
