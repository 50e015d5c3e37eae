"""Several processes that answer as one server: the home, which is the whole of it, and workers beside it."""
