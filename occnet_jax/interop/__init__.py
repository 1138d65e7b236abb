"""Files of other programs: PyTorch's format, the reference implementation's layout."""
