"""Loaded models: those that backends execute, and ensembles of them."""
