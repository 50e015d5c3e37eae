"""The command line: `kserve-v2 COMMAND …`.

Exit status: 0 after a clean end, 1 if what was asked for was not done (a server could not start, a check has found
something, a server has refused), 2 for a wrong command line or environment.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from kserve_v2.commands.apart import run_apart
from kserve_v2.commands.command import Command, CommandError, UsageError
from kserve_v2.commands.registry import COMMANDS
from kserve_v2.plain_text import visible
from kserve_v2.settings.flags import did_you_mean
from kserve_v2.settings.options import SettingsError

FAILURE = 1
USAGE = 2
INTERRUPTED = 130  # as a shell has it for a program that SIGINT has ended


_START = """\
to begin:
  A model that you have, and its page at http://127.0.0.1:8000/:
    kserve-v2 serve model.onnx
  No model yet: a small one to start from, and to serve:
    kserve-v2 init flowers --template handler
    kserve-v2 serve models

kserve-v2 COMMAND --help says more of each, with its options and examples."""


class _Once(argparse.Action):
    """Stores the value of an option that takes one: of several, argparse would take the last and say nothing. Options
    of the server collect theirs: see `settings.flags`.
    """

    _given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest, None)
        if self._given and values != before:
            raise UsageError(f"{option_string} is given twice, as {before} and as {values}: give it once")
        self._given = True
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    """Reports a mistake as an exception, so that all of them end in the same one line."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name in (None, "store"):
            self.register("action", name, _Once)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command and return the exit status. Defaults: the process's own arguments and environment. With its own
    arguments, this is the program, which runs models' code in another process.
    """
    _open_standard_streams()
    try:
        command, namespace = _parse(sys.argv[1:] if argv is None else argv)
        if argv is None and command.runs_models:
            return run_apart(sys.argv[1:], namespace.model_timeout)
        return command.run(namespace, os.environ if environ is None else environ)
    except (UsageError, SettingsError) as error:
        return _fail(str(error), USAGE)
    except CommandError as error:
        return _fail(str(error), FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED


def _open_standard_streams() -> None:
    """Those that were closed by whoever started the process lead nowhere. Otherwise the next files and sockets would be
    taken for them.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != fd:
                os.dup2(nowhere, fd)
                os.close(nowhere)
    # Python has none for what was closed.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - as above


def _parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The command and what it was given. Ends the process for --help and --version, as argparse does. Raises
    UsageError.
    """
    parser, parsers = _make_parser()
    if argv and not _is_option(argv[0]) and argv[0] not in parsers:
        known = ", ".join(parsers)
        raise UsageError(
            f"there is no command {argv[0]!r}{did_you_mean(argv[0], parsers) or f', expected one of: {known}'} "
            "(see kserve-v2 --help)"
        )
    namespace, unknown = parser.parse_known_args(argv)
    for command in COMMANDS:
        if command.name == namespace.command:
            if command.operands:
                # Behind an option, argparse does not see that they belong to the others.
                namespace.operands += [argument for argument in unknown if not _is_option(argument)]
                unknown = [argument for argument in unknown if _is_option(argument)]
            _refuse(unknown, parsers[command.name])
            return command, namespace
    names = ", ".join(command.name for command in COMMANDS)
    raise UsageError(f"no command given, expected one of: {names} (see kserve-v2 --help)")


def _is_option(argument: str) -> bool:
    # A lone hyphen stands for standard input.
    return argument.startswith("-") and argument != "-"


def _refuse(unknown: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Raises UsageError for the first argument that the command does not have."""
    known = [
        flag
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for flag in action.option_strings
    ]
    for argument in unknown:
        if _is_option(argument):
            name = argument.partition("=")[0]
            raise UsageError(f"unknown option {name}{did_you_mean(name, known)}")
        raise UsageError(f"unexpected argument {argument!r}, expected options only")


def _make_parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser of the command line, and those of the commands by name."""
    parser = _Parser(
        prog="kserve-v2",
        description="A model server for PyTorch and ONNX models.",
        epilog=_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kserve-v2 {version('kserve-v2')}")
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=_Parser)
    parsers: dict[str, argparse.ArgumentParser] = {}
    for command in COMMANDS:
        added = parsers[command.name] = commands.add_parser(
            command.name,
            help=command.does,
            usage=f"kserve-v2 {command.name} {command.usage}",
            description=command.description,
            epilog=command.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if command.operands:
            added.add_argument("operands", nargs="*", help=argparse.SUPPRESS)
        command.add(added)
    return parser, parsers


def _fail(message: str, status: int) -> int:
    print(f"error: {visible(message)}", file=sys.stderr)
    return status
