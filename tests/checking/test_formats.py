"""Reports, as what reads them wants them."""

import json
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.checking.findings import Finding, Level, Rule, merged
from kserve_v2.checking.formats import as_github, as_json, as_sarif, as_text

PLACED = Finding(
    Level.ERROR, Rule.VALUE, "m", Path("models/m/config.pbtxt"), "is 50% too large,\nor so", 3, 7, "max_batch_size",
    "max_batch_size: 8", (1, 2),
)  # fmt: skip
UNPLACED = Finding(Level.WARNING, Rule.LAYOUT, "", Path("models/a b,c:d/1"), "is empty")
NOTED = Finding(Level.NOTE, Rule.ENVIRONMENT, "n", Path("/elsewhere/n/1"), "was not looked at")
ALL = [PLACED, UNPLACED, NOTED]


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_text() -> None:
    assert as_text(ALL, 3).splitlines() == [
        "models/m/config.pbtxt:3:7: error: max_batch_size: is 50% too large,",
        "    or so",
        "    write instead: max_batch_size: 8",
        "models/a b,c:d/1: warning: is empty",
        "/elsewhere/n/1: note: was not looked at",
        "3 models checked: 1 error, 1 warning, 1 note",
    ]
    assert as_text([], 1) == "1 model checked: 0 errors, 0 warnings"


def test_paths_are_relative_to_where_one_stands(tmp_path: Path) -> None:
    absolute = Finding(Level.ERROR, Rule.VALUE, "m", tmp_path / "m" / "config.pbtxt", "x", 1, 1)
    assert as_text([absolute], 1).startswith("m/config.pbtxt:1:1: ")


def test_what_comes_from_elsewhere_is_shown_with_its_url() -> None:
    url = "s3://bucket/a b/m/config.pbtxt"
    staged = Finding(Level.ERROR, Rule.VALUE, "m", Path("/staging/m/config.pbtxt"), "x", 1, 2, url=url)
    assert as_text([staged], 1).startswith(f"{url}:1:2: error: x")
    assert json.loads(as_json([staged], 1))["findings"][0]["file"] == url
    assert as_github([staged], 1).startswith("::error file=s3%3A//bucket/a b/m/config.pbtxt,line=1,")
    [result] = json.loads(as_sarif([staged], 1))["runs"][0]["results"]
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": "s3://bucket/a%20b/m/config.pbtxt"}


def test_json() -> None:
    report = json.loads(as_json(ALL, 3))
    assert {name: report[name] for name in ("models", "errors", "warnings", "notes")} == {
        "models": 3, "errors": 1, "warnings": 1, "notes": 1,
    }  # fmt: skip
    assert report["findings"][0] == {
        "level": "error", "rule": "config-value", "model": "m", "versions": [1, 2], "file": "models/m/config.pbtxt",
        "line": 3, "column": 7, "field": "max_batch_size", "message": "is 50% too large,\nor so",
        "instead": "max_batch_size: 8",
    }  # fmt: skip
    assert report["findings"][1] == {
        "level": "warning", "rule": "repository-layout", "model": None, "versions": [], "file": "models/a b,c:d/1",
        "line": None, "column": None, "field": None, "message": "is empty", "instead": None,
    }  # fmt: skip


def test_github_escapes_as_its_runner_reads() -> None:
    """The runner undoes %25, %0D and %0A in messages, and %3A and %2C in properties, too (actions/toolkit, command.ts)."""
    assert as_github(ALL, 3).splitlines() == [
        "::error file=models/m/config.pbtxt,line=3,col=7,title=The configuration says what cannot be served"
        "::max_batch_size: is 50%25 too large,%0Aor so%0Awrite instead: max_batch_size: 8",
        "::warning file=models/a b%2Cc%3Ad/1,title=Directories and files are not laid out as a model's::is empty",
        "::notice file=/elsewhere/n/1,title=The model's environment is not there%2C so that the model was not looked at"
        "::was not looked at",
        "3 models checked: 1 error, 1 warning, 1 note",
    ]


def test_an_escape_is_not_escaped_twice() -> None:
    finding = Finding(Level.ERROR, Rule.VALUE, "m", Path("100%,\r.txt"), "a\r\nb%0A")
    [line, _] = as_github([finding], 1).split("\n")
    assert line.startswith("::error file=100%25%2C%0D.txt,title=")
    assert line.endswith("::a%0D%0Ab%250A")


# What the published schema of SARIF 2.1.0 requires of the objects that are used here, and what it allows.
REQUIRED: dict[str, set[str]] = {
    "log": {"version", "runs"},
    "run": {"tool"},
    "tool": {"driver"},
    "driver": {"name"},
    "rule": {"id"},
    "result": {"message"},
}
ALLOWED: dict[str, set[str]] = {
    "log": {"$schema", "version", "runs", "inlineExternalProperties", "properties"},
    "run": {"tool", "results", "columnKind", "artifacts", "invocations", "originalUriBaseIds", "properties"},
    "tool": {"driver", "extensions", "properties"},
    "driver": {"name", "version", "semanticVersion", "informationUri", "rules", "organization", "properties"},
    "rule": {"id", "name", "shortDescription", "fullDescription", "help", "helpUri", "defaultConfiguration"},
    "result": {"ruleId", "ruleIndex", "level", "message", "locations", "kind", "fixes", "properties"},
}
LEVELS = {"none", "note", "warning", "error"}


def has_shape(kind: str, found: dict[str, Any]) -> bool:
    return REQUIRED[kind] <= found.keys() <= ALLOWED[kind]


def test_sarif_is_what_its_schema_wants() -> None:
    log = json.loads(as_sarif(ALL, 3))
    assert has_shape("log", log)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    [run] = log["runs"]
    assert has_shape("run", run)
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    assert has_shape("tool", run["tool"])
    driver = run["tool"]["driver"]
    assert has_shape("driver", driver)
    rules = driver["rules"]
    assert all(has_shape("rule", rule) and rule["shortDescription"]["text"] for rule in rules)
    assert len({rule["id"] for rule in rules}) == len(rules) == len(Rule)
    assert len(run["results"]) == 3
    for result in run["results"]:
        assert has_shape("result", result)
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in LEVELS
        assert result["message"]["text"]
        [location] = result["locations"]
        physical = location["physicalLocation"]
        assert set(physical) <= {"artifactLocation", "region"}
        region = physical.get("region", {"startLine": 1, "startColumn": 1})
        assert region["startLine"] >= 1
        assert region["startColumn"] >= 1


def test_sarif_places() -> None:
    results = json.loads(as_sarif(ALL, 3))["runs"][0]["results"]
    assert [each["locations"][0]["physicalLocation"] for each in results] == [
        {"artifactLocation": {"uri": "models/m/config.pbtxt"}, "region": {"startLine": 3, "startColumn": 7}},
        {"artifactLocation": {"uri": "models/a%20b%2Cc%3Ad/1"}},
        {"artifactLocation": {"uri": "file:///elsewhere/n/1"}},
    ]
    assert results[0]["message"]["text"].endswith("Write instead: max_batch_size: 8")


def test_findings_of_several_versions_are_one() -> None:
    path = Path("m/config.pbtxt")
    findings = [
        Finding(Level.WARNING, Rule.VALUE, "m", path, "b", 2, 1, versions=(2,)),
        Finding(Level.ERROR, Rule.VALUE, "m", path, "a", 9, 1, versions=(2,)),
        Finding(Level.ERROR, Rule.VALUE, "m", path, "a", 9, 1, versions=(1,)),
        Finding(Level.ERROR, Rule.VALUE, "m", path, "c", 2, 1),
    ]
    found = [(each.message, each.versions) for each in merged(findings)]
    assert found == [("c", ()), ("b", (2,)), ("a", (1, 2))]
