"""The least that does the same work as the server: what it costs more is the price of its features."""
