"""The models that the suite needs: a catalogue of them, and writers for the servers that load them."""

from .catalogue import BROKEN
from .starting import how_to_start
from .writers import OMITTED, SERVERS, write

__all__ = ["BROKEN", "OMITTED", "SERVERS", "how_to_start", "write"]
