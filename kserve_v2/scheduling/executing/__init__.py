"""Executions of a model: on threads, in place, or on event loops of their own."""
