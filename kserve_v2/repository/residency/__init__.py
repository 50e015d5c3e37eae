"""Which models are in memory: what they use, what they may use together, and which of them make room for others."""
