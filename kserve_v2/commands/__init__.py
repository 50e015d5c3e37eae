"""The commands of `kserve-v2`, one module for each."""
