"""Models whose code runs in a process of its own: a backend around a backend."""
