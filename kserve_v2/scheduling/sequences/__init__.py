"""Sequences: requests that belong together, in order, on one instance."""
