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


def number_above_zero(text: str) -> float:
    """A number for an option, above 0."""
    value = number_or_zero(text)
    if not value:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def number_or_zero(text: str) -> float:
    """A number for an option, from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"expected a number from 0, got {text!r}")
    return value
