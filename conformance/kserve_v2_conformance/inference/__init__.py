"""Inference cases: data, from which requests are built, sent over every carrier, and judged by one expectation."""
