"""The command line: `conformance run | models | capabilities | compare`.

Exit status of `run`: 0 if the server conforms in all that was to be tested, 1 if something required fails, 2 if it
could not be run (a wrong command line, a server that is not there, Ctrl-C), 3 if too little was tested to say.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kserve_v2_conformance import __version__, models
from kserve_v2_conformance.profile import capabilities
from kserve_v2_conformance.report.compare import CompareError, compare
from kserve_v2_conformance.report.writers import FORMS
from kserve_v2_conformance.suite import SUITE
from kserve_v2_conformance.verdicts import Status

_USAGE = int(Status.COULD_NOT_RUN)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    arguments, others = _parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    if others and arguments.command != "run":
        _parser().error(f"unrecognized arguments: {' '.join(others)}")
    try:
        status: int = arguments.action(arguments, others)
        sys.stdout.flush()
    except BrokenPipeError:  # of `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _USAGE
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conformance", description="Does a server keep to the KServe v2 / Open Inference Protocol?"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(
        commands.add_parser(
            "run", help="test a server", epilog="Other options are pytest's: -k, -x, --lf, -v, …"
        )
    )
    models_parser = commands.add_parser("models", help="write the test models for a server")
    models_parser.add_argument(
        "--for", dest="server", required=True, choices=models.SERVERS, help="the server that loads them"
    )
    models_parser.add_argument(
        "--broken",
        action="store_true",
        help="with the model that cannot be loaded; many servers do not start on it",
    )
    models_parser.add_argument("directory", type=Path, help="an empty directory, or one to be made")
    models_parser.set_defaults(action=_models)
    capabilities_parser = commands.add_parser("capabilities", help="what a profile may name models for")
    capabilities_parser.set_defaults(action=_capabilities)
    compare_parser = commands.add_parser(
        "compare", help="set reports of servers, or of two runs of one, side by side"
    )
    compare_parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    compare_parser.add_argument(
        "-o", "--output", type=Path, help="a .md, .html or .svg file; without it, Markdown to the terminal"
    )
    compare_parser.set_defaults(action=_compare)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rest",
        required=True,
        metavar="URL",
        help="where the server answers REST, e.g. http://localhost:8000",
    )
    parser.add_argument("--grpc", metavar="HOST:PORT", help="where the server answers gRPC")
    parser.add_argument(
        "--profile",
        metavar="FILE",
        help="which models have the capabilities that cases need; or the name of a shipped profile",
    )
    parser.add_argument(
        "--known-failures", metavar="FILE", help="cases or clauses that fail, each with a reason behind #"
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        action="append",
        default=[],
        help=f"write a report: a name that ends in {FORMS}; may be repeated",
    )
    parser.add_argument(
        "--only",
        metavar="CLAUSE",
        nargs="+",
        action="extend",
        default=[],
        help="clauses, beginnings of them, or extensions",
    )
    parser.add_argument(
        "--level", choices=("core", "extensions"), default="extensions", help="core: no extensions"
    )
    parser.add_argument(
        "--server-name", metavar="NAME", help="what reports call the server; default: what it calls itself"
    )
    parser.set_defaults(action=_run)


def _run(arguments: argparse.Namespace, others: Sequence[str]) -> int:
    options = [f"--rest={arguments.rest}", f"--level={arguments.level}"]
    for name in ("grpc", "profile", "known_failures", "server_name"):
        value = getattr(arguments, name)
        options += [f"--{name.replace('_', '-')}={value}"] if value is not None else []
    options += [f"--report={file}" for file in arguments.report]
    options += [f"--only={clause}" for clause in arguments.only]
    # The suite's own configuration, whatever the directory; what pytest remembers for --lf stays with the caller.
    options += [
        "-c",
        str(SUITE / "pytest.ini"),
        "-o",
        f"cache_dir={Path.cwd() / '.pytest_cache'}",
        "-q",
        "--no-header",
        "--tb=no",  # the summary says it all, and once
        "-rN",
    ]
    ended = _InternalErrors()
    status = int(pytest.main([*options, *others, str(SUITE)], plugins=[ended]))
    said = status in (Status.CONFORMS, Status.FAILS, Status.NOT_TESTED) and not ended.seen
    return status if said else _USAGE


class _InternalErrors:
    """Whether pytest ended with an error of its own, whose exit status is that of NOT_TESTED."""

    seen = False

    def pytest_internalerror(self) -> None:
        self.seen = True


def _models(arguments: argparse.Namespace, _others: Sequence[str]) -> int:
    try:
        written = models.write(arguments.server, arguments.directory, arguments.broken)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _USAGE
    print(f"{len(written)} models for {arguments.server} in {arguments.directory}")
    for name, reason in models.OMITTED[arguments.server].items():
        print(f"  without {name}: {reason}")
    if not arguments.broken and models.BROKEN not in models.OMITTED[arguments.server]:
        print(f"  without {models.BROKEN}: servers do not start on it; --broken writes it")
    print("\nStart the server on them, and test it:\n")
    for line in models.how_to_start(arguments.server, arguments.directory, written):
        print(f"    {line}")
    return 0


def _capabilities(_arguments: argparse.Namespace, _others: Sequence[str]) -> int:
    for name, inputs, outputs, does in capabilities():
        print(f"{name}\n    {inputs} -> {outputs}\n    {does}")
    return 0


def _compare(arguments: argparse.Namespace, _others: Sequence[str]) -> int:
    try:
        text = compare(arguments.reports, arguments.output)
    except (CompareError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _USAGE
    if arguments.output is None:
        print(text)
    return 0
