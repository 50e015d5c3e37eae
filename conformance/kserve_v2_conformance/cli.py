"""The command line: `conformance run | models | compare`.

Exit status: 0 if nothing required fails, 1 if something does, 2 for a wrong command line or a server that is not there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kserve_v2_conformance import models
from kserve_v2_conformance.report.compare import CompareError, compare

SUITE = Path(__file__).parent / "suite"
_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    arguments, others = _parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    if others and arguments.command != "run":
        _parser().error(f"unrecognized arguments: {' '.join(others)}")
    status: int = arguments.action(arguments, others)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conformance", description="Does a server keep to the KServe v2 / Open Inference Protocol?"
    )
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
    models_parser.add_argument("directory", type=Path, help="an empty directory, or one to be made")
    models_parser.set_defaults(action=_models)
    compare_parser = commands.add_parser("compare", help="set reports side by side")
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
        help="write a .json, .html or .md report; may be repeated",
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
        options += [f"--{name.replace('_', '-')}={value}"] if value else []
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
        "--tb=short",
    ]
    for file in arguments.report:
        if Path(file).suffix not in (".json", ".html", ".md"):
            print(
                f"error: --report {file}: expected a name that ends in .json, .html or .md", file=sys.stderr
            )
            return _USAGE
    status = pytest.main([*options, *others, str(SUITE)])
    return status if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else _USAGE


def _models(arguments: argparse.Namespace, _others: Sequence[str]) -> int:
    try:
        written = models.write(arguments.server, arguments.directory)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _USAGE
    print(f"{len(written)} models for {arguments.server} in {arguments.directory}")
    for name, reason in models.OMITTED[arguments.server].items():
        print(f"  without {name}: {reason}")
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
