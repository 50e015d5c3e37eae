"""Models that ask other models."""
