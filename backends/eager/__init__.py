"""Handlers: Python files with a class `Model`."""
