"""The models that the suite needs: a catalogue of them, and writers for the servers that load them."""

from .writers import OMITTED, SERVERS, write

__all__ = ["OMITTED", "SERVERS", "write"]
