"""The cases, as pytest collects them."""

from pathlib import Path

SUITE = Path(__file__).parent
