"""PyTorch's files: which of the two kinds, and what both need."""
