"""Measurements of the server against yardsticks that do the same work directly: `python -m benchmarks`."""
