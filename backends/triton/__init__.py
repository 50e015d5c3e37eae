"""Triton's Python models in the server's process."""
