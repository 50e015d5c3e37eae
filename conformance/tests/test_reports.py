"""Reports of real runs: what they say, and in which form."""

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import RunSuite, serve

from kserve_v2_conformance.cli import SUITE, main
from kserve_v2_conformance.report.compare import CompareError, compare
from kserve_v2_conformance.report.junit import junit_report
from kserve_v2_conformance.results import Results

_HEALTH = ("--only=LIVE", "--only=READY-001", "--only=READY-002", "--only=MODEL-012", "--only=DATA-EMPTY")


class _Balanced(HTMLParser):
    """Fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _text(path: Path) -> str:
    parser = _Balanced()
    parser.feed(path.read_text())
    assert parser.open == []
    return parser.text


def test_reports_of_a_wrong_server(run_suite: RunSuite, tmp_path: Path) -> None:
    files = [tmp_path / "out" / f"r.{suffix}" for suffix in ("json", "html", "md", "xml", "svg")]
    with serve("live-500", "values:EMPTY", "metadata-odd-platform") as server:
        run = run_suite(server, *_HEALTH, *(f"--report={file}" for file in files))
    assert run.status == 1
    document = json.loads(files[0].read_text())
    assert document["server"]["name"] == "wrong"
    assert run.outcome("REST-LIVE-001") == "fail"
    assert run.outcome("REST-READY-001") == "pass"
    assert run.outcome("REST-MODEL-012") == "not as advised"
    assert run.outcome("REST-INFER-001") == "not covered"
    page = _text(files[1])
    for said in (
        " required clauses tested, 1 broken",
        "REST-LIVE-001",
        "GET /v2/health/live",
        "expected status 200, and no body that says no, got 500",
        "Server Live",
    ):
        assert said in page
    markdown = files[2].read_text()
    assert "## Broken" in markdown
    assert "| REST-LIVE-001 | A server that can answer" in markdown
    assert "&lt;project&gt;" in markdown
    assert "`" not in page.partition("<style>")[0]
    suites = {suite.get("name"): suite for suite in ET.parse(files[3]).getroot()}  # noqa: S314 - our own
    assert [suites["core REST"].get("failures"), suites["core gRPC"].get("failures")] == ["1", "0"]
    (failure,) = suites["core REST"].iter("failure")
    assert f"curl -i {run.report['server']['rest']}/v2/health/live" in (failure.text or "")
    assert suites["core REST"].find("properties/property[@name='verdict']").get("value") == "fails"  # type: ignore[union-attr]
    assert "fails: 1 clause broken" in files[4].read_text()


def test_failures_come_first_in_the_page(run_suite: RunSuite, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    with serve("live-500") as server:
        run_suite(server, *_HEALTH, f"--report={page}")
    text = page.read_text()
    places = [
        text.index(each)
        for each in ('href="#REST-LIVE-001"', 'id="verdicts"', 'id="REST-LIVE-001"', 'id="REST-LIVE-002"')
    ]
    assert places == sorted(places)
    assert text.count('id="REST-LIVE-001"') == 1
    assert "<code>live</code>" in text


def test_summary_in_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each failure once, with what was sent and how to send it again; each reason for not testing once."""
    with serve("live-500") as server:
        server.engine.models.clear()
        options = [
            f"--rest={server.rest.url}",
            f"--grpc={server.grpc.address}",
            "-p",
            "no:timeout",
            "--capture=no",
        ]
        assert main(["run", *options, "-k", "health or metadata or plain"]) == 1
        url = server.rest.url
    said = capfd.readouterr().out
    assert said.count("BROKEN  REST-LIVE-001") == said.count("GET /v2/health/live\n") == 1
    assert f"    again: curl -i {url}/v2/health/live\n" in said
    assert said.count("the server has no model for") == 1
    assert said.count("the server has none of the models") == 1
    assert "verdict: fails (" in said


def test_known_failures_in_reports(run_suite: RunSuite, tmp_path: Path) -> None:
    known = tmp_path / "known.txt"
    known.write_text("REST-LIVE-001 # the owner knows\nREST-READY-001 # it is repaired\n")
    files = [tmp_path / f"r.{suffix}" for suffix in ("html", "md")]
    with serve("live-500") as server:
        run = run_suite(
            server, *_HEALTH, f"--known-failures={known}", *(f"--report={file}" for file in files)
        )
    assert run.status == 1
    assert run.report["stale"] == ["REST-READY-001"]
    assert run.outcome("REST-LIVE-001") == "fail"
    assert run.report["verdict"] == "fails"
    assert run.case("health/server-live")["known"] == "the owner knows"
    assert "known: the owner knows" in _text(files[0])
    assert "known failure that fails no more: REST-READY-001" in _text(files[0])
    assert "(known: the owner knows)" in files[1].read_text()
    known.write_text("REST-LIVE-001 # the owner knows\n")
    with serve("live-500") as server:
        run = run_suite(server, *_HEALTH, f"--known-failures={known}")
    # It fails as before; no other case does, but those that were selected are too few to conform.
    assert (run.status, run.report["verdict"]) == (3, "fails")


@pytest.fixture
def two_reports(run_suite: RunSuite, tmp_path: Path) -> list[Path]:
    files = [tmp_path / "good.json", tmp_path / "bad.json"]
    for file, defects in zip(files, ((), ("live-500",)), strict=True):
        with serve(*defects) as server:
            run_suite(server, *_HEALTH, f"--report={file}", f"--server-name={file.stem}")
    return files


def test_comparison(two_reports: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, two_reports)]) == 0
    table = capsys.readouterr().out
    assert "| verdict, required clauses kept | good 1.0 | bad 1.0 |" in table
    assert "| REST-LIVE-001 | MUST |" in table
    assert "| ✓ | ✗ |" in table
    html = tmp_path / "table.html"
    assert main(["compare", *map(str, two_reports), "-o", str(html)]) == 0
    assert "REST-LIVE-001" in _text(html)
    # Of three, no two are compared; one of an older suite lacks parts.
    document = json.loads(two_reports[0].read_text())
    document["verdicts"] = document["verdicts"][:1]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document))
    compare([*two_reports, old], html)
    assert "Changed in the second" not in _text(html)
    for file, text in zip(two_reports, ("not tested enough: 1", "fails: 1 clause broken, 1"), strict=True):
        badge = ET.fromstring(compare([file], tmp_path / "badge.svg"))  # noqa: S314 - our own
        assert badge.attrib["aria-label"].startswith(f"KServe v2 protocol: {text}")


def test_summary_of_many_failures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One answer that breaks two clauses is shown once, other cases are named, and known failures and advice are told."""
    known = tmp_path / "known.txt"
    known.write_text("REST-LIVE-001 # a proxy answers\n")
    with serve("live-500", "metadata-without-platform", "metadata-odd-platform", "values:INT32") as server:
        options = [
            f"--rest={server.rest.url}",
            f"--known-failures={known}",
            "-p",
            "no:timeout",
            "--capture=no",
        ]
        assert (
            main(["run", *options, "-k", "health or metadata or json and (add-sub or int32 or batch)"]) == 1
        )
    said = capfd.readouterr().out
    assert "    known: a proxy answers\n" in said
    assert "known failures: they do not change the exit status" not in said.partition("verdict: ")[2]
    assert "    also by: infer/" in said
    assert "    seen in the same answer as REST-" in said
    assert "not as advised: REST-MODEL-012" in said
    assert "core gRPC             not tested" in said
    assert "no gRPC address was given" in said


def test_case_that_fails_itself(
    run_suite: RunSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A mistake of the suite is told as one, with its traceback, and is no verdict to be proud of."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("of the suite")

    monkeypatch.setattr("kserve_v2_conformance.inference.verify.Judge.success", fail)
    with serve() as server:
        run = run_suite(server, cases=(f"{SUITE}/test_infer.py::test_case[plain-json]",))
        assert (
            main(["run", f"--rest={server.rest.url}", "-p", "no:timeout", "--capture=no", "-k", "plain-json"])
            == 1
        )
    assert (
        run.case("infer/plain-json")["findings"][0]["got"]
        == "the case itself failed: ZeroDivisionError: of the suite"
    )
    assert "raise ZeroDivisionError" in run.case("infer/plain-json")["reason"]
    assert "raise ZeroDivisionError" in capfd.readouterr().out


def test_reports_of_a_run_that_was_stopped(run_suite: RunSuite, tmp_path: Path) -> None:
    files = [tmp_path / "whole.json", tmp_path / "part.json"]
    with serve("live-500") as server:
        run_suite(server, *_HEALTH, f"--report={files[0]}")
        run_suite(server, *_HEALTH, "--maxfail=1", f"--report={files[1]}")
    assert ": the run was stopped after 1 of " in compare(files, None)
    page = tmp_path / "both.html"
    compare(files, page)
    assert "the run was stopped after 1 of " in _text(page)


def test_two_runs_of_one_server(run_suite: RunSuite, tmp_path: Path) -> None:
    """What changed is listed, what is broken now first; the columns can be told apart."""
    files = [tmp_path / "before.json", tmp_path / "after.json"]
    for file, defects in zip(files, (("metadata-odd-platform",), ("live-500",)), strict=True):
        with serve(*defects) as server:
            run_suite(server, *_HEALTH, f"--report={file}")
    changes = (
        compare(files, None).split("| clause | first | second | says |")[1].split("\n\n")[0].splitlines()[2:]
    )
    assert [line.split(" | ")[:3] for line in changes] == [
        ["| REST-LIVE-001", "pass", "fail"],
        ["| REST-MODEL-012", "not as advised", "pass"],
    ]
    header = compare(files, None).splitlines()[0]
    assert len({cell.strip() for cell in header.split("|")[2:4]}) == 2
    page = tmp_path / "changes.html"
    compare(files, page)
    assert "Changed in the second" in _text(page)


def test_comparisons_that_cannot_be(
    two_reports: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CompareError, match="one report"):
        compare(two_reports, tmp_path / "badge.svg")
    with pytest.raises(CompareError, match=r"ends in \.md"):
        compare(two_reports, tmp_path / "table.pdf")
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert main(["compare", str(other)]) == 2
    assert "no report of this suite" in capsys.readouterr().err


def test_name_of_a_server_that_xml_cannot_have() -> None:
    server = {"name": "a\x01b", "version": "1", "extensions": []}
    assert ET.fromstring(junit_report(Results(server=server))).get("name") == "a�b 1"  # noqa: S314 - our own
