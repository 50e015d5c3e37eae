"""Prometheus metrics of what a server has: models, their memory and releases, and the response cache."""
