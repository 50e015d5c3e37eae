"""Profiles and known failures: what their files may say."""

from pathlib import Path

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.known_failures import KnownFailures, KnownFailuresError, read_known_failures
from kserve_v2_conformance.profile import SHIPPED, Profile, ProfileError, read_profile
from kserve_v2_conformance.requirements import extensions, matches, requirements
from kserve_v2_conformance.results import CaseResult, Outcome, Results


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file"
    path.write_text(text)
    return path


def test_profile(tmp_path: Path) -> None:
    text = 'identity.FP32 = "mine"\nadd_sub = "simple"\nextensions = ["generate"]\nwithout = ["trace"]\n'
    profile = read_profile(str(_file(tmp_path, text)))
    assert profile.extensions == {"generate"}
    assert profile.without == {"trace"}
    names = [profile.model_name(each) for each in ("identity.FP32", "identity.INT8", "add_sub", "versions")]
    assert names == ["mine", "identity_int8", "simple", "versions"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("=", "Invalid"),
        ('identity = "x"', "write identity.FP32"),
        ('identity.FP99 = "x"', "no such capability"),
        ('subtract = "x"', "no such capability"),
        ("add_sub = 3", "expected the name of a model, got 3"),
        ('extensions = ["telepathy"]', "unknown telepathy"),
        ('extensions = "generate"', "extensions: expected an array, as in extensions = "),
        ("without = [1]", "without: expected an array"),
        (
            'identity_fp32 = "x"',
            "identity_fp32: no such capability; they are identity.<datatype>, identity_fixed",
        ),
        ('add_sub = ""', "expected the name of a model, got ''"),
    ],
)
def test_wrong_profile(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=reason):
        read_profile(str(_file(tmp_path, text)))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"add_sub = '\xff'")
    with pytest.raises(ProfileError, match=r"file: .*utf-8"):
        read_profile(str(path))
    with pytest.raises(KnownFailuresError, match=r"file: .*utf-8"):
        read_known_failures(path)


def test_shipped_profiles() -> None:
    for path in SHIPPED.glob("*.toml"):
        assert isinstance(read_profile(path.stem), Profile)
    with pytest.raises(ProfileError, match="neither a file nor one of"):
        read_profile("no_such_profile")


def test_clauses_match_by_id_beginning_and_extension() -> None:
    for wanted in ("REST-BIN-001", "REST-BIN", "BIN", "BIN-001", "REST", "binary_tensor_data"):
        assert matches("REST-BIN-001", wanted), wanted
    for wanted in ("GRPC", "BIN-00", "REST-BIN-002", "classification"):
        assert not matches("REST-BIN-001", wanted), wanted
    assert "binary_tensor_data" in extensions()


def test_requirements_say_everything() -> None:
    for requirement in requirements().values():
        assert requirement.text.endswith(".")
        assert requirement.section
        assert requirement.url.startswith("https://")
        # Extensions have no SHOULD of their own: what they leave open is advice, and says why.
        assert requirement.level != "SHOULD" or not requirement.extension or requirement.reading


def _case(name: str, *broken: str, kept: tuple[str, ...] = ()) -> CaseResult:
    checks = Checks()
    for clause in broken:
        checks.that(clause, "it", False, "a", "b")
    for clause in kept:
        checks.that(clause, "it", True, "a", "a")
    outcome = Outcome.FAILED if broken else Outcome.PASSED
    return CaseResult(name, "", [*broken, *kept], outcome, "", checks.findings, [])


def test_known_failures(tmp_path: Path) -> None:
    text = "# comment\n\nREST-LIVE-001  # no reason why\ninfer/plain-json # slow # very\n"
    known = read_known_failures(_file(tmp_path, text))
    assert known.reasons == {"REST-LIVE-001": "no reason why", "infer/plain-json": "slow # very"}
    assert known.excuse(_case("infer/plain-json", "REST-INFER-001")) == "slow # very"
    assert known.excuse(_case("health/x", "REST-LIVE-001")) == "no reason why"
    assert known.excuse(_case("health/x", "REST-LIVE-001", "REST-READY-001")) == ""
    assert known.excuse(_case("health/x")) == ""


def test_stale_known_failures() -> None:
    known = KnownFailures(
        {"REST-LIVE-001": "a", "REST-META-001": "b", "infer/plain-json": "c", "infer/id-json": "d"}
    )
    results = Results(
        cases=[_case("infer/plain-json", kept=("REST-LIVE-001",)), _case("infer/id-json", "REST-INFER-001")]
    )
    assert known.stale(results) == ["REST-LIVE-001", "infer/plain-json"]


def test_known_failures_that_are_no_cases() -> None:
    known = KnownFailures({"REST-LIVE-001": "a", "infer/plain-json": "b", "infer/plan-json": "c"})
    assert known.unknown({"infer/plain-json"}) == ["infer/plan-json"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("REST-LIVE-001", "file:1: REST-LIVE-001 has no reason"),
        ("\nREST-LIVE-001 #", "file:2: REST-LIVE-001 has no reason"),
        ("REST-LIVE-001 # a\nREST-LIVE-001 # b", "is there twice"),
        ("REST-LIFE-001 # a", "neither a clause nor a case"),
    ],
)
def test_wrong_known_failures(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(KnownFailuresError, match=reason):
        read_known_failures(_file(tmp_path, text))


def test_findings_need_a_clause_that_exists() -> None:
    with pytest.raises(KeyError, match="REST-LIFE-001"):
        Checks().that("REST-LIFE-001", "it", True, "a", "a")
