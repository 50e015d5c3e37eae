"""Numbers on command lines."""

import argparse


def positive_number(text: str) -> int:
    """A number for an option, from 1."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def whole_number(text: str) -> int:
    """A number for an option, from 0."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)
