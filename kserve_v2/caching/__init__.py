"""Answers that are kept: what a key is made of, what an entry is, and where entries lie."""
