"""Schedulers: from single requests to executed batches and back."""
