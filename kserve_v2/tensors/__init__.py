"""Tensors as bytes, for both protocols: datatypes, what a request announces, raw contents, texts, classes."""
