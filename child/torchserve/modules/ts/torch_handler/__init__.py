"""Handlers that need no file of their own, and those that others derive from."""
