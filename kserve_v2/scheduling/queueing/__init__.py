"""Requests that wait: in which order, for how long, and until when a batch is worth waiting for."""
