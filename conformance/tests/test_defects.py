"""Every planted defect is found by the clause that names it, and the server without defects passes."""

from pathlib import Path

import pytest
from conftest import RunSuite, serve
from wrongserver.changes import GRPC_CHANGES, REST_CHANGES
from wrongserver.defects import PLANTED

from kserve_v2_conformance.cli import SUITE
from kserve_v2_conformance.requirements import requirements
from kserve_v2_conformance.suite import support, test_schedule_policy
from kserve_v2_conformance.verdicts import Status

# Clauses without a planted defect, and why.
_WITHOUT_DEFECT = {
    "REST-META-006": "nobody can provoke it",
    "GRPC-INFER-024": "gRPC cannot tell an empty list from an absent one",
}
_PROFILE = "--profile=triton"


@pytest.fixture(scope="session")
def cases_by_clause() -> dict[str, tuple[str, ...]]:
    """The ids of the suite's cases, by clause, as pytest knows them."""

    class Collector:
        def __init__(self) -> None:
            self.cases: dict[str, list[str]] = {}

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            for item in session.items:
                for mark in item.iter_markers("clause"):
                    for clause in mark.args:
                        self.cases.setdefault(clause, []).append(f"{SUITE}/{item.path.name}::{item.name}")

    collector = Collector()
    options = ["-c", str(SUITE / "pytest.ini"), "-p", "kserve_v2_conformance.plugin", "-p", "no:terminal"]
    pytest.main(
        [*options, "-p", "no:cacheprovider", "--collect-only", "--capture=no", str(SUITE)],
        plugins=[collector],
    )
    return {clause: tuple(cases) for clause, cases in collector.cases.items()}


@pytest.mark.slow
def test_server_without_defects(run_suite: RunSuite) -> None:
    """Everything passes, and everything is covered that a client can see."""
    with serve() as server:
        run = run_suite(server, _PROFILE)
    failed = [case["id"] for case in run.report["cases"] if case["outcome"] not in ("pass", "not covered")]
    assert (run.status, failed) == (0, [])
    outcomes = {clause["id"]: clause["outcome"] for clause in run.report["clauses"]}
    uncovered = {clause for clause, outcome in outcomes.items() if outcome != "pass"}
    assert uncovered == {"REST-META-006", "REST-INFER-021"}


@pytest.mark.parametrize("defect", PLANTED)
def test_defect_is_found(
    defect: str,
    run_suite: RunSuite,
    cases_by_clause: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What a defect keeps from happening is not waited for.
    monkeypatch.setattr(support, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(test_schedule_policy, "ATTEMPTS", 2)
    clauses = PLANTED[defect]
    cases = dict.fromkeys(case for clause in clauses for case in cases_by_clause[clause])
    with serve(defect) as server:
        run = run_suite(server, _PROFILE, *(f"--only={clause}" for clause in clauses), cases=tuple(cases))
    found = {clause: run.outcome(clause) for clause in clauses}
    assert found == {
        clause: "fail" if requirements()[clause].required else "not as advised" for clause in clauses
    }
    assert (run.status == Status.FAILS) == ("fail" in found.values())


def test_every_clause_has_a_case(cases_by_clause: dict[str, tuple[str, ...]]) -> None:
    assert set(requirements()) - cases_by_clause.keys() == {"REST-META-006"}


def test_every_clause_has_a_defect() -> None:
    named = {clause for clauses in PLANTED.values() for clause in clauses}
    assert set(requirements()) - named == set(_WITHOUT_DEFECT)


def test_every_defect_is_planted() -> None:
    server = Path(__file__).parent / "wrongserver"
    source = "".join(path.read_text() for path in server.glob("*.py") if path.name != "defects.py")
    switches = {name for name in PLANTED if ":" not in name} - REST_CHANGES.keys() - GRPC_CHANGES.keys()
    assert [name for name in switches if f'"{name}"' not in source] == []
    assert (REST_CHANGES.keys() | GRPC_CHANGES.keys()) - PLANTED.keys() == set()
