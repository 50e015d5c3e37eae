"""The pytest plugin: options, the server under test, and what becomes of each case.

`conformance run` uses it, and so does `pytest --rest URL` on the suite's directory.
"""

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kserve_v2_conformance.connect import connect, describe, unasked
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.known_failures import KnownFailures, KnownFailuresError, read_known_failures
from kserve_v2_conformance.profile import Profile, ProfileError, read_profile
from kserve_v2_conformance.report.summary import summary
from kserve_v2_conformance.report.writers import ReportError, check_report, write_report
from kserve_v2_conformance.requirements import GRPC, REST, extensions, matches, requirements
from kserve_v2_conformance.results import CaseResult, Outcome, Results
from kserve_v2_conformance.suite import SUITE
from kserve_v2_conformance.target import NotCovered, Target
from kserve_v2_conformance.verdicts import Status, part_of, parts, status_of

MARKERS = (
    "clause(*ids): the clauses of the specification that the case is about",
    "needs(extension): an extension that the case uses though it is not about it",
    "last: may end a server that is not careful, so it runs after all others",
)

_SHOWN = {REST: "REST", GRPC: "gRPC"}

_CHECKS = pytest.StashKey[Checks]()
_RESULTS = pytest.StashKey[Results]()
_KNOWN = pytest.StashKey[KnownFailures]()
_TARGET = pytest.StashKey[Target]()
_UNWRITTEN = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `conformance run`."""
    group = parser.getgroup("conformance", "the server under test")
    group.addoption("--rest", metavar="URL", help="where the server answers REST, e.g. http://localhost:8000")
    group.addoption("--grpc", metavar="HOST:PORT", help="where the server answers gRPC")
    group.addoption("--profile", metavar="FILE", help="which models have the capabilities that cases need")
    group.addoption("--known-failures", metavar="FILE", help="cases or clauses that fail, each with a reason")
    group.addoption(
        "--report", metavar="FILE", action="append", default=[], help="write a .json, .html or .md report"
    )
    group.addoption(
        "--only", metavar="CLAUSE", action="append", default=[], help="run only these clauses or extensions"
    )
    group.addoption(
        "--level", choices=("core", "extensions"), default="extensions", help="core: no extensions"
    )
    group.addoption("--server-name", metavar="NAME", help="what reports call the server")


def pytest_configure(config: pytest.Config) -> None:
    """Read the files of the options, and connect to the server."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)
    config.stash[_RESULTS] = Results()
    config.stash[_UNWRITTEN] = []
    _refuse_empty(config)
    try:
        profile = read_profile(config.option.profile) if config.option.profile else Profile()
        file = config.option.known_failures
        config.stash[_KNOWN] = read_known_failures(Path(file)) if file else KnownFailures({})
        _check_selection(config.option.only)
        for report in config.option.report:
            check_report(Path(report))
    except (ProfileError, KnownFailuresError, ReportError, OSError) as error:
        raise pytest.UsageError(str(error)) from None
    if config.option.collectonly:
        return
    if not config.option.rest:
        raise pytest.UsageError("say which server to test: --rest URL")
    config.stash[_TARGET] = _connect(config, profile)


def _refuse_empty(config: pytest.Config) -> None:
    """What a variable that is not set leaves behind must not mean "without": half of the server would go untested."""
    for name in ("rest", "grpc", "profile", "known_failures"):
        if getattr(config.option, name) == "":
            raise pytest.UsageError(f"--{name.replace('_', '-')} is empty")


def _connect(config: pytest.Config, profile: Profile) -> Target:
    try:
        target = connect(config.option.rest, config.option.grpc, profile, config.option.only)
    except (UnreadableAnswer, ProfileError) as error:
        raise pytest.UsageError(str(error)) from None
    results = config.stash[_RESULTS]
    results.server = describe(target, config.option.server_name)
    results.unasked = unasked(target, config.option.only, config.option.level)
    results.asked = frozenset(parts()) - results.unasked.keys()
    return target


def _check_selection(only: list[str]) -> None:
    for wanted in only:
        if not wanted or not any(matches(clause, wanted) for clause in requirements()):
            raise pytest.UsageError(
                f"--only {wanted}: no clause starts so; extensions are {', '.join(extensions())}"
            )


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connections."""
    if _TARGET in config.stash:
        config.stash[_TARGET].close()


def clauses_of(item: pytest.Item) -> list[str]:
    """The clauses that a case is about."""
    return [clause for mark in item.iter_markers("clause") for clause in mark.args]


def extensions_of(item: pytest.Item) -> set[str]:
    """The extensions that a case uses."""
    needed = {str(mark.args[0]) for mark in item.iter_markers("needs")}
    return needed | {requirements()[clause].extension for clause in clauses_of(item)} - {""}


def case_id(item: pytest.Item) -> str:
    """`infer/fp32-json`, `health/live`: what reports and lists of known failures call a case."""
    module = item.path.stem.removeprefix("test_")
    name = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", "-")
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return f"{module}/{name}"
    return f"{module}/{callspec.id}" if name == "case" else f"{module}/{name}/{callspec.id}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what was asked for."""
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        (kept if _wanted(config, item) else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    _check_known_failures(config, items)
    items[:] = sorted(kept, key=_turn)
    config.stash[_RESULTS].selected = bool(config.option.only) or config.option.level == "core"


def _check_known_failures(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse entries for cases that do not exist: they would excuse nothing, and nobody would notice."""
    cases = {case_id(item) for item in items}
    # --lf does not even collect the files in which nothing failed.
    whole = [Path(each).resolve() for each in config.args] == [SUITE] and not config.getoption("lf", False)
    modules = {path.stem.removeprefix("test_") for path in SUITE.glob("test_*.py")}
    unknown = [
        entry
        for entry in config.stash[_KNOWN].unknown(cases)
        if whole or entry.partition("/")[0] not in modules
    ]
    if unknown:
        raise pytest.UsageError(f"--known-failures: there is no case {', '.join(unknown)}")


def pytest_deselected(items: list[pytest.Item]) -> None:
    """What -k, --only and the like leave out of the parts of the specification. --level leaves out whole parts."""
    for item in items:
        if item.config.option.level == "extensions" or not extensions_of(item):
            required = (requirements()[clause] for clause in clauses_of(item))
            parts_of_it = {part_of(each) for each in required if each.required}
            item.config.stash[_RESULTS].left_out.update(parts_of_it)


def pytest_collection_finish(session: pytest.Session) -> None:
    """How many cases are to be run: pytest's own selection, -k for one, is over."""
    session.config.stash[_RESULTS].planned = len(session.items)


def _turn(item: pytest.Item) -> int:
    """Cases that may end a server come last, those over gRPC before those over REST."""
    if item.get_closest_marker("last") is None:
        return 0
    return 1 if all(clause.startswith("GRPC-") for clause in clauses_of(item)) else 2


def _wanted(config: pytest.Config, item: pytest.Item) -> bool:
    only = config.option.only
    if only and not any(matches(clause, wanted) for clause in clauses_of(item) for wanted in only):
        return False
    return config.option.level == "extensions" or not extensions_of(item)


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The server under test."""
    return request.config.stash[_TARGET]


@pytest.fixture
def check(request: pytest.FixtureRequest, target: Target) -> Iterator[Checks]:
    """Collects what the case finds out."""
    checks = request.node.stash[_CHECKS]
    target.rest.checks = checks
    if target.has_grpc:
        target.grpc.checks = checks
    yield checks
    target.rest.checks = Checks()
    if target.has_grpc:
        target.grpc.checks = Checks()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the server does not claim to have."""
    item.stash[_CHECKS] = Checks()
    target = item.config.stash[_TARGET]
    for protocol, end in target.ended.items():
        if protocol in _protocols_of(item):
            pytest.skip(f"not run: {end}")
    try:
        for extension in sorted(extensions_of(item)):
            target.require_extension(extension)
        if clauses_of(item) and all(clause.startswith("GRPC-") for clause in clauses_of(item)):
            _ = target.grpc
    except NotCovered as reason:
        pytest.skip(str(reason))


def _protocols_of(item: pytest.Item) -> set[str]:
    """The protocols that a case speaks, as far as its clauses tell. What is about gRPC may also ask over REST."""
    return {requirements()[clause].protocol for clause in clauses_of(item)} or {REST, GRPC}


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Turn broken clauses into a failure of the case."""
    checks = pyfuncitem.stash[_CHECKS]
    result: object = True
    uncovered = ""
    try:
        result = yield
    except NotCovered as reason:
        uncovered = str(reason)
    except UnreadableAnswer as error:
        uncovered = _ended_before(pyfuncitem.config.stash[_TARGET])
        if not uncovered:
            _blame(pyfuncitem, checks, str(error))
    _notice_end(pyfuncitem, checks)
    broken = [str(finding) for finding in checks.findings if finding.broken]
    if broken:
        pytest.fail("\n".join(broken), pytrace=False)
    if uncovered:
        pytest.skip(uncovered)
    return result


def _ended_before(target: Target) -> str:
    """Why an answer is missing, if it may well be because the server ended in an earlier case."""
    known = target.ended and target.unreachable().keys() <= target.ended.keys()
    return f"not run: {next(iter(target.ended.values()))}" if known else ""


def _notice_end(item: pytest.Item, checks: Checks) -> None:
    """Keep in mind which case ended the server, and with which request."""
    target = item.config.stash[_TARGET]
    if all(finding.kept for finding in checks.findings):
        return
    for protocol, why in target.unreachable().items():
        if protocol in target.ended:
            continue
        sent = f"; last sent: {checks.exchanges[-1].headline}" if checks.exchanges else ""
        end = f"the server cannot be reached over {_SHOWN[protocol]} any more since {case_id(item)}{sent}"
        target.ended[protocol] = end
        item.config.stash[_RESULTS].ended.append(f"{end} ({why})")


def _blame(item: pytest.Item, checks: Checks, reason: str) -> None:
    """An answer that cannot be read breaks the clauses that the case is about."""
    for clause in clauses_of(item):
        checks.that(clause, "answer", False, "an answer that can be read", reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the result of each case; one that is known to fail does not fail the run."""
    report = yield
    if (report.when == "setup" and report.passed) or report.when == "teardown":
        return report
    result = _result(item, report, call)
    results = item.config.stash[_RESULTS]
    reason = item.config.stash[_KNOWN].excuse(result)
    if result.outcome is Outcome.FAILED and reason:
        result.known = reason
        report.outcome, report.wasxfail = "skipped", reason
    results.cases.append(result)
    return report


def _result(item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> CaseResult:
    checks = item.stash[_CHECKS]
    reason = ""
    if report.skipped:
        outcome, reason = Outcome.NOT_COVERED, _skip_reason(report)
    else:
        outcome = Outcome.PASSED if report.passed else Outcome.FAILED
        if report.failed and not any(finding.broken for finding in checks.findings):
            # pytest's own report has no traceback under --tb=no.
            said = call.excinfo.exconly() if call.excinfo else "nobody knows how"
            trace = call.excinfo.getrepr(style="short") if call.excinfo else said
            _blame(item, checks, f"the case itself failed: {said}")
            reason = f"the case itself failed:\n{trace}"
    return CaseResult(
        case_id(item), _about(item), clauses_of(item), outcome, reason, checks.findings, checks.exchanges
    )


def _skip_reason(report: pytest.TestReport) -> str:
    text: Any = report.longrepr
    return str(text[2] if isinstance(text, tuple) else text).removeprefix("Skipped: ")


def _about(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    case = callspec.params.get("case") if callspec else None
    return str(getattr(case, "about", "")) or str(getattr(item, "function", item).__doc__ or "").strip()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the reports, of an interrupted run as well, and end with the status of the verdict."""
    config = session.config
    if _TARGET not in config.stash or exitstatus in (
        pytest.ExitCode.USAGE_ERROR,
        pytest.ExitCode.INTERNAL_ERROR,
    ):
        session.exitstatus = Status.COULD_NOT_RUN if _TARGET in config.stash else exitstatus
        return
    results = config.stash[_RESULTS]
    results.finished = time.time()
    results.stale = config.stash[_KNOWN].stale(results)
    results.interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
    session.exitstatus = status_of(results)
    for file in config.option.report:
        try:
            write_report(results, Path(file))
        except OSError as error:
            config.stash[_UNWRITTEN].append(f"--report {file} could not be written: {error}")
            session.exitstatus = Status.COULD_NOT_RUN


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table at the end."""
    if _TARGET in config.stash and config.stash[_RESULTS].finished:
        terminalreporter.write_line("")
        for line in (*summary(config.stash[_RESULTS]), *config.stash[_UNWRITTEN]):
            terminalreporter.write_line(line)
