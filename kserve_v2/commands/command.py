"""What a command of `kserve-v2` is. The modules of commands, which its `--help` imports, import nothing large."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass


class UsageError(Exception):
    """The command line makes no sense; the text says which part of it, and what was expected. Exit status 2."""


class CommandError(Exception):
    """What was asked for was not done; the text is for the person who did. Exit status 1."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    `does`: one line for the list of all commands. `usage`: what stands behind its name. `description` and `examples`:
    in front of its options and behind them. `add`: adds its options. `run`: does it, and returns the exit status; it
    gets the command line and the environment, and raises UsageError or CommandError. `operands`: it takes arguments
    that are no options, in any place; they are the list `operands` of the command line. `runs_models`: it runs models'
    code, and so the program does it in a process of its own.
    """

    name: str
    does: str
    usage: str
    description: str
    examples: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Mapping[str, str]], int]
    operands: bool = False
    runs_models: bool = False
