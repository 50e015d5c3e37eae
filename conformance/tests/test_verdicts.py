"""What becomes of outcomes: verdicts, the exit status, the badge."""

from collections.abc import Collection

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.report.badge import badge_text
from kserve_v2_conformance.requirements import requirements
from kserve_v2_conformance.results import CaseResult, Outcome, Results
from kserve_v2_conformance.verdicts import Status, Verdict, Word, overall, part_of, parts, status_of, verdicts

_EXTENSION = "statistics"


def _clauses(part: str, required: bool = True) -> list[str]:
    return [
        each.id for each in requirements().values() if part_of(each) == part and each.required is required
    ]


def _case(*kept: str, broken: Collection[str] = (), known: str = "") -> CaseResult:
    checks = Checks()
    for clause in (*kept, *broken):
        checks.that(clause, "it", clause not in broken, "a", "b")
    failed = any(finding.broken for finding in checks.findings)
    outcome = Outcome.FAILED if failed else Outcome.PASSED
    return CaseResult("m/c", "", [*kept, *broken], outcome, "", checks.findings, [], known)


def _results(*cases: CaseResult, asked: Collection[str] = parts()) -> Results:
    return Results(cases=list(cases), asked=frozenset(asked), planned=len(cases))


def _verdict(results: Results, part: str) -> Verdict:
    return next(each for each in verdicts(results, results.clauses()) if each.part == part)


def _everything(part: str) -> CaseResult:
    return _case(*_clauses(part))


@pytest.mark.parametrize("part", parts())
def test_all_clauses_kept(part: str) -> None:
    results = _results(_everything(part), asked=[part])
    verdict = _verdict(results, part)
    assert (verdict.word, verdict.share, verdict.why) == (Word.CONFORMS, "100 %", "")
    assert status_of(results) is Status.CONFORMS


@pytest.mark.parametrize("part", parts())
def test_nothing_tested(part: str) -> None:
    """It is neither right nor wrong, and never a success."""
    results = _results(asked=[part])
    assert _verdict(results, part).word is Word.NOT_TESTED
    assert overall(verdicts(results, results.clauses())) is Word.NOT_TESTED
    assert status_of(results) is Status.NOT_TESTED


@pytest.mark.parametrize("part", parts())
def test_one_broken_clause_is_enough(part: str) -> None:
    last = _clauses(part)[-1]
    results = _results(_case(broken=[last]))
    verdict = _verdict(results, part)
    assert (verdict.word, verdict.broken, verdict.covered) == (Word.FAILS, 1, 1)
    assert status_of(results) is Status.FAILS


def test_share_that_is_needed() -> None:
    clauses = _clauses(_EXTENSION)
    needed = -(-2 * len(clauses) // 3)
    for count, word in ((needed, Word.CONFORMS), (needed - 1, Word.NOT_TESTED)):
        results = _results(_case(*clauses[:count]), asked=[_EXTENSION])
        assert _verdict(results, _EXTENSION).word is word, count


@pytest.mark.parametrize("essential", ["LIVE-001", "READY-001", "META-001", "MODEL-001", "INFER-001"])
def test_what_core_cannot_do_without(essential: str) -> None:
    kept = [clause for clause in _clauses("core REST") if clause != f"REST-{essential}"]
    verdict = _verdict(_results(_case(*kept)), "core REST")
    assert (verdict.word, verdict.why) == (Word.NOT_TESTED, f"REST-{essential} was not tested")


def test_advice_counts_nowhere() -> None:
    advice = _clauses("core REST", required=False)
    results = _results(_everything("core REST"), _case(broken=advice), asked=["core REST"])
    verdict = _verdict(results, "core REST")
    assert (verdict.word, verdict.broken, verdict.covered) == (Word.CONFORMS, 0, len(_clauses("core REST")))
    assert status_of(results) is Status.CONFORMS


def test_parts_that_were_not_asked_for() -> None:
    """They are not tested, and hold nobody up; what fails there all the same, fails."""
    results = _results(_everything("core REST"), asked=["core REST"])
    assert _verdict(results, "trace").word is Word.NOT_TESTED
    assert overall(verdicts(results, results.clauses())) is Word.CONFORMS
    results.cases.append(_case(broken=_clauses("trace")[:1]))
    results.planned += 1
    assert overall(verdicts(results, results.clauses())) is Word.FAILS


def test_known_failures_change_the_status_alone() -> None:
    kept, broken = _clauses("core REST")[:-1], _clauses("core REST")[-1:]
    known, unknown = (
        _results(_case(*kept), _case(broken=broken, known=why), asked=["core REST"]) for why in ("soon", "")
    )
    assert (status_of(known), status_of(unknown)) == (Status.CONFORMS, Status.FAILS)
    for results in (known, unknown):
        found = verdicts(results, results.clauses())
        assert overall(found) is Word.FAILS
        assert badge_text(found) == "fails: 1 clause broken, 100 % tested"
        assert _verdict(results, "core REST").broken == 1


def test_known_failures_do_not_make_up_for_what_was_not_tested() -> None:
    results = _results(_case(broken=_clauses("trace")[:1], known="soon"), asked=["trace"])
    assert status_of(results) is Status.NOT_TESTED


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"stale": ["REST-LIVE-001"]}, Status.FAILS),
        ({"ended": ["it ended"]}, Status.FAILS),
        ({"planned": 2}, Status.NOT_TESTED),
        ({"interrupted": True}, Status.COULD_NOT_RUN),
        ({"asked": frozenset()}, Status.NOT_TESTED),
    ],
)
def test_what_else_decides_the_status(change: dict[str, object], status: Status) -> None:
    results = _results(_everything("core REST"), asked=["core REST"])
    for name, value in change.items():
        setattr(results, name, value)
    assert status_of(results) is status


def test_badges() -> None:
    core = ["core REST", "core gRPC"]
    both = _results(*map(_everything, core), asked=core)
    assert badge_text(verdicts(both, both.clauses())) == "conforms: REST + gRPC, 100 % tested"
    more = _results(*map(_everything, [*core, "trace"]), asked=[*core, "trace"])
    assert badge_text(verdicts(more, more.clauses())) == "conforms: REST + gRPC, 1 extension, 100 % tested"
    nothing = _results()
    assert badge_text(verdicts(nothing, nothing.clauses())) == "not tested enough: 0 %"
