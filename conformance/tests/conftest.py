"""Runs the suite, in this process, against a server with planted defects."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from wrongserver.engine import Engine
from wrongserver.grpc_front import GrpcFront
from wrongserver.rest_front import RestFront

from kserve_v2_conformance.cli import SUITE


@dataclass
class WrongServer:
    """A server that runs."""

    engine: Engine
    rest: RestFront
    grpc: GrpcFront


@contextmanager
def serve(*defects: str, without: frozenset[str] = frozenset()) -> Iterator[WrongServer]:
    """A server with these defects, without these extensions."""
    engine = Engine(frozenset(defects), without)
    server = WrongServer(engine, RestFront(engine), GrpcFront(engine))
    try:
        yield server
    finally:
        server.rest.stop()
        server.grpc.stop()


@dataclass
class Run:
    """What a run of the suite said."""

    status: int
    report: dict[str, Any]

    def outcome(self, clause: str) -> str:
        return next(each["outcome"] for each in self.report["clauses"] if each["id"] == clause)

    def case(self, case: str) -> dict[str, Any]:
        return next(each for each in self.report["cases"] if each["id"] == case)


RunSuite = Callable[..., Run]


@pytest.fixture
def run_suite(tmp_path: Path) -> RunSuite:
    """`run_suite(server, *options, cases=…)` runs the suite, or some of its cases, quietly."""

    def run(server: WrongServer, *options: str, cases: tuple[str, ...] = (str(SUITE),)) -> Run:
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        status = pytest.main(
            [
                *("-c", str(SUITE / "pytest.ini"), "-p", "kserve_v2_conformance.plugin"),
                *("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:timeout", "-p", "no:unraisableexception", "--capture=no"),
                f"--rest={server.rest.url}", f"--grpc={server.grpc.address}", f"--report={report}",
                *options, *cases,
            ]
        )  # fmt: skip
        return Run(int(status), json.loads(report.read_text()) if report.is_file() else {})

    return run
