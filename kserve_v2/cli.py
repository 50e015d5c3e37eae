"""The command line: `kserve-v2 serve …`, `check …`, `config …`, `release …`.

Exit status: 0 after a clean end, 1 if the server could not start, a check has found something or a release was
refused, 2 for a wrong command line or environment.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NoReturn

from kserve_v2 import release_command
from kserve_v2.commands.arguments import CHECK, CONFIG
from kserve_v2.net.repository_url import RepositoryUrl, is_archive
from kserve_v2.settings import flags
from kserve_v2.settings.options import SettingsError
from kserve_v2.settings.settings import Settings

OK = 0
START_UP_FAILURE = 1
USAGE = 2

_SERVE_DESCRIPTION = """\
Serve the models of one or more model repositories over REST and gRPC (KServe v2 / Open Inference Protocol).

Every option has an environment variable, shown in brackets behind it; a flag outweighs its variable. Where an
option may be repeated, its variable takes several values, separated by commas. Booleans take true, false, 1
and 0; a flag without a value means true.
Triton's other options are accepted and ignored with a warning, except for those that promise protection or would
change answers, such as --http-restricted-api: with them the server does not start.
"""

_SERVE_EXAMPLES = """\
examples:
  Serve every model below ./models on this machine only:
    kserve-v2 serve --model-repository models
  Serve two repositories to the network, with 512 MB for a request and logs as JSON:
    kserve-v2 serve --model-repository models --model-repository more --http-address 0.0.0.0 \\
      --grpc-address 0.0.0.0 --http-max-input-size 536870912 --log-format json
  Work on models: each is loaded again when a file of it is saved, and what is broken is said here:
    kserve-v2 serve --model-repository models --reload
  Load each model when it is first asked for:
    kserve-v2 serve --model-repository models --model-control-mode on-demand
  Load one model now and others through the API, configured by the environment:
    KSERVE_V2_MODEL_REPOSITORY=models KSERVE_V2_HTTP_PORT=9000 \\
      kserve-v2 serve --model-control-mode explicit --load-model digits_onnx
"""


# Those that look at models and serve none.
_COMMANDS = {"check": CHECK, "config": CONFIG}

_log = logging.getLogger(__name__)


class _Parser(argparse.ArgumentParser):
    """Reports a mistake as an exception, so that all of them end in the same one line."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command and return the exit status. Defaults: the process's own arguments and environment."""
    _open_standard_streams()
    environ = os.environ if environ is None else environ
    try:
        namespace, unknown = _parse(sys.argv[1:] if argv is None else argv)
        if namespace.command == "release":
            _refuse(unknown, [])
            return _release(namespace)
        given = _take_apart(namespace, unknown)
        effective, warnings = flags.resolve(given.flags, environ)
    except SettingsError as error:
        return _fail(str(error), USAGE)
    for directory in effective.model_repository:
        if isinstance(directory, RepositoryUrl) or (directory.is_file() and is_archive(directory.name)):
            continue
        if not directory.is_dir():
            problem = "is not a directory" if directory.exists() else "does not exist"
            status = START_UP_FAILURE if given.command == "serve" else USAGE
            return _fail(f"model repository {str(directory)!r} {problem}", status)
    return _serve(effective, warnings) if given.command == "serve" else _look(given, effective, warnings)


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


@dataclass(frozen=True, slots=True)
class _Given:
    """A command line, taken apart. `flags`: those of `serve`, name to texts. `own`: other options of the command.
    `operands`: models.
    """

    command: str
    flags: dict[str, list[str]]
    own: dict[str, object]
    operands: list[str]


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command and its options, and what is none. Ends the process for --help and --version, as argparse does.
    Raises SettingsError.
    """
    parser = _make_parser()
    namespace, unknown = parser.parse_known_args(argv)
    if namespace.command is None:
        *others, last = (f"kserve-v2 {name}" for name in ("serve", *_COMMANDS, "release"))
        parser.error(f"no command given, expected: {', '.join(others)} or {last} (see kserve-v2 --help)")
    return namespace, unknown


def _refuse(unknown: Sequence[str], known: Sequence[str]) -> None:
    """Raises SettingsError for the first argument that no command has. `known`: flags that may be meant."""
    for argument in unknown:
        if argument.startswith("-"):
            name = argument.partition("=")[0]
            raise SettingsError(f"unknown option {name}{flags.did_you_mean(name, known)}")
        raise SettingsError(f"unexpected argument {argument!r}, expected options only")


def _take_apart(namespace: argparse.Namespace, unknown: Sequence[str]) -> _Given:
    """Raises SettingsError for what does not belong there."""
    command: str = namespace.command
    texts = {name: value for name, value in vars(namespace).items() if name != "command"}
    names = _COMMANDS[command].names if command in _COMMANDS else ()
    own = {name: texts.pop(name) for name in names}
    operands: list[str] = texts.pop("operands", [])
    if command in _COMMANDS:
        # Behind an option, argparse does not see that they belong to the others.
        operands += [argument for argument in unknown if not argument.startswith("-")]
        unknown = [argument for argument in unknown if argument.startswith("-")]
    _refuse(unknown, [*flags.known_flags(), *(f"--{each.replace('_', '-')}" for each in names)])
    least = 2 if command == "config" else 1
    if len(operands) >= least and "model_repository" not in texts:
        texts["model_repository"] = [operands.pop(0)]
    if command == "config" and len(operands) != 1:
        raise SettingsError("expected one model: kserve-v2 config REPO MODEL (see kserve-v2 config --help)")
    return _Given(command, texts, own, operands)


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="kserve-v2",
        description="A model server for PyTorch and ONNX models.",
        epilog="kserve-v2 serve --help lists the options, with examples, as for the other commands.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kserve-v2 {version('kserve-v2')}")
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=_Parser)
    serve = _add_command(
        commands,
        "serve",
        "serve the models of a repository",
        "--model-repository DIR [options]",
        (_SERVE_DESCRIPTION, _SERVE_EXAMPLES),
    )
    flags.add_flags(serve)
    for name, arguments in _COMMANDS.items():
        command = _add_command(
            commands,
            name,
            arguments.does,
            f"{arguments.operands} [options] [options of serve]",
            (arguments.description, arguments.examples),
        )
        command.add_argument("operands", nargs="*", help=argparse.SUPPRESS)
        arguments.add(command)
        flags.add_flags(command)
    release_command.add_arguments(
        commands.add_parser(
            "release",
            help="say which versions of a model answer: labels, canaries, shadows",
            usage="kserve-v2 release MODEL [options]",
            description=release_command.DESCRIPTION,
            epilog=release_command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    return parser


def _release(namespace: argparse.Namespace) -> int:
    try:
        print(release_command.run(namespace))
    except release_command.ReleaseUsageError as error:
        return _fail(str(error), USAGE)
    except release_command.ReleaseError as error:
        return _fail(str(error), START_UP_FAILURE)
    return OK


def _add_command(
    commands: Any, name: str, does: str, usage: str, texts: tuple[str, str]
) -> argparse.ArgumentParser:
    """`texts`: what its help says in front of the options, and behind them."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=does,
        usage=f"kserve-v2 {name} {usage}",
        description=texts[0],
        epilog=texts[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return command


def _look(given: _Given, effective: Settings, warnings: Sequence[str]) -> int:
    """One of the commands that look at models and serve none."""
    # Imported here, as in `_serve`.
    from kserve_v2.commands import check, config  # noqa: PLC0415
    from kserve_v2.startup import StartupError  # noqa: PLC0415

    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    run = check.run if given.command == "check" else config.run
    try:
        return run(effective, given.operands, given.own)
    except SettingsError as error:
        return _fail(str(error), USAGE)
    except StartupError as error:
        return _fail(str(error), START_UP_FAILURE)


def _serve(effective: Settings, warnings: Sequence[str]) -> int:
    # Imported here: --help and a mistyped flag do not wait for numpy and the web frameworks.
    from kserve_v2 import server  # noqa: PLC0415
    from kserve_v2.logs import console, log  # noqa: PLC0415
    from kserve_v2.startup import StartupError  # noqa: PLC0415

    print(console.settings_table(effective), flush=True)
    log.configure(effective)
    try:
        for warning in warnings:
            _log.warning(warning)
        status = server.run(effective)
    except StartupError as error:
        problem = str(error)
    else:
        log.shutdown()
        if not console.flush():
            # The interpreter would wait until somebody reads what handlers have printed.
            os._exit(status)
        return status
    finally:
        log.shutdown()
    # Behind all that was logged: it is what the reader has to know.
    return _fail(problem, START_UP_FAILURE)


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
