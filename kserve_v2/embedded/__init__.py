"""A server inside of a program: `kserve_v2.serve`."""
