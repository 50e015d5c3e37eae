"""The model repository: what is on disk, what should be served, and the models that are."""
