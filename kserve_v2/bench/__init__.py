"""Measuring a server with load: `kserve-v2 bench`, and what `kserve-v2 analyze` measures with."""
