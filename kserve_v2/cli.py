"""The command line: `kserve-v2 serve …`, `kserve-v2 check …`, `kserve-v2 release …`.

Exit status: 0 after a clean end, 1 if the server could not start, a check has found something or a release was
refused, 2 for a wrong command line or environment.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import NoReturn

from kserve_v2 import release_command
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
  Load one model now and others through the API, configured by the environment:
    KSERVE_V2_MODEL_REPOSITORY=models KSERVE_V2_HTTP_PORT=9000 \\
      kserve-v2 serve --model-control-mode explicit --load-model digits_onnx
"""


_CHECK_DESCRIPTION = """\
Say what is wrong with the models of a repository, without serving them: configurations are read, completed from the
models' files and validated as by `serve` with the same options, ensembles and their steps included. Weights are not
loaded and no port is opened; but handlers are imported, which runs the code of their files. Environments of models
are used where they are there, and not made.
Exit status: 0 if nothing is wrong, 1 otherwise.
"""

_CHECK_EXAMPLES = """\
examples:
  Look at every model below ./models:
    kserve-v2 check --model-repository models
  Look at one of them:
    kserve-v2 check --model-repository models --model-control-mode explicit --load-model digits_onnx
"""


_log = logging.getLogger(__name__)


class _Parser(argparse.ArgumentParser):
    """Reports a mistake as an exception, so that all of them end in the same one line."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command and return the exit status. Defaults: the process's own arguments and environment."""
    _open_standard_streams()
    try:
        namespace = _read_command(sys.argv[1:] if argv is None else argv)
        if namespace.command == "release":
            return _release(namespace)
        arguments = {name: texts for name, texts in vars(namespace).items() if name != "command"}
        effective, warnings = flags.resolve(arguments, os.environ if environ is None else environ)
    except SettingsError as error:
        return _fail(str(error), USAGE)
    for directory in effective.model_repository:
        if not directory.is_dir():
            problem = "is not a directory" if directory.exists() else "does not exist"
            return _fail(f"model repository {str(directory)!r} {problem}", START_UP_FAILURE)
    return _check(effective, warnings) if namespace.command == "check" else _serve(effective, warnings)


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


def _read_command(argv: Sequence[str]) -> argparse.Namespace:
    """The command and its options. Ends the process for --help and --version, as argparse does."""
    parser = _make_parser()
    namespace, unknown = parser.parse_known_args(argv)
    if namespace.command is None:
        parser.error("no command given, expected: kserve-v2 serve or kserve-v2 check (see kserve-v2 --help)")
    for argument in unknown:
        if argument.startswith("-"):
            name = argument.partition("=")[0]
            known = [] if namespace.command == "release" else flags.known_flags()
            parser.error(f"unknown option {name}{flags.did_you_mean(name, known)}")
        parser.error(f"unexpected argument {argument!r}, expected options only")
    return namespace


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="kserve-v2",
        description="A model server for PyTorch and ONNX models.",
        epilog="kserve-v2 serve --help and kserve-v2 check --help list the options, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kserve-v2 {version('kserve-v2')}")
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=_Parser)
    serve_does, check_does = (
        "serve the models of a repository",
        "say what is wrong with the models of a repository",
    )
    for name, does, options, description, examples in (
        ("serve", serve_does, "[options]", _SERVE_DESCRIPTION, _SERVE_EXAMPLES),
        ("check", check_does, "[options of serve]", _CHECK_DESCRIPTION, _CHECK_EXAMPLES),
    ):
        command = commands.add_parser(
            name,
            help=does,
            usage=f"kserve-v2 {name} --model-repository DIR {options}",
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
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


def _check(effective: Settings, warnings: Sequence[str]) -> int:
    # Imported here, as in `_serve`.
    from kserve_v2 import server  # noqa: PLC0415
    from kserve_v2.logs import log  # noqa: PLC0415

    log.configure(effective)
    for warning in warnings:
        _log.warning(warning)
    try:
        findings = server.check(effective)
    except server.StartupError as error:
        return _fail(str(error), START_UP_FAILURE)
    finally:
        log.shutdown()
    for finding in findings:
        what = f"{finding.model} version {finding.version}" if finding.version else finding.model
        print(f"{'wrong' if finding.problem else 'ok':<5}  {what}")
        for line in (finding.problem or finding.note).splitlines():
            print(f"       {line}")
    wrong = sum(bool(finding.problem) for finding in findings)
    print(f"{len(findings)} looked at, {wrong} wrong")
    return START_UP_FAILURE if wrong else OK


def _serve(effective: Settings, warnings: Sequence[str]) -> int:
    # Imported here: --help and a mistyped flag do not wait for numpy and the web frameworks.
    from kserve_v2 import server  # noqa: PLC0415
    from kserve_v2.logs import console, log  # noqa: PLC0415

    print(console.settings_table(effective), flush=True)
    log.configure(effective)
    try:
        for warning in warnings:
            _log.warning(warning)
        status = server.run(effective)
    except server.StartupError as error:
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
