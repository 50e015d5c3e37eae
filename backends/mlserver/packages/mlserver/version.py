"""The version of MLServer whose behaviour this is."""

__version__ = "1.7.1"
