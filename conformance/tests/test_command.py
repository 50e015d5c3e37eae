"""The command, and the plugin's own behaviour: selection, profiles, servers that end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import RunSuite, WrongServer, serve
from wrongserver.changes import REST_CHANGES, RestAnswer

from kserve_v2_conformance import __version__
from kserve_v2_conformance.cli import SUITE, main
from kserve_v2_conformance.models.catalogue import CATALOGUE, DATATYPES, Behaviour, ModelSpec, TensorSpec
from kserve_v2_conformance.profile import parse_profile
from kserve_v2_conformance.rest import RestClient


@pytest.fixture(scope="module")
def server() -> Iterator[WrongServer]:
    with serve() as running:
        yield running


_QUIET = ("-p", "no:timeout", "--capture=no")


def _conformance(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kserve_v2_conformance", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_run_from_the_command_line(server: WrongServer) -> None:
    done = _conformance(
        "run", f"--rest={server.rest.url}", f"--grpc={server.grpc.address}", "--only", "LIVE", "META", "-vv"
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "test_server_live" in done.stdout
    assert "core gRPC             not tested" in done.stdout
    assert "verdict: not tested" in done.stdout
    assert "warning" not in done.stdout


@pytest.mark.slow
def test_pytest_on_the_suite(server: WrongServer, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(SUITE / "test_health.py"),
        f"--rest={server.rest.url}",
        "-k",
        "live",
        "-q",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    # gRPC was not named.
    assert "1 passed, 1 skipped" in done.stdout


def _run(server: WrongServer, *options: str) -> int:
    return main(["run", f"--rest={server.rest.url}", f"--grpc={server.grpc.address}", *options, *_QUIET])


def test_status_of_the_command(server: WrongServer, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    assert _run(server, "--only", "LIVE", f"--report={report}", "--profile=triton", "--server-name=x") == 3
    assert '"name": "x"' in report.read_text()
    with serve("live-500") as wrong:
        assert _run(wrong, "--only", "LIVE") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--only=NO-SUCH-CLAUSE",), "no clause starts so"),
        (("--profile=no_such_profile",), "no profile no_such_profile"),
        (("--known-failures=no_such_file",), "No such file"),
        (("--report=report.pdf",), "ends in .html, .json"),
        (("--report=/dev/null/report.md",), "--report /dev/null/report.md: File exists: /dev/null"),
        (("--only=",), "no clause starts so"),
        # As `--grpc "$ADDRESS"` has it where the variable is not set.
        (("--grpc=",), "--grpc is empty"),
        (("--profile=",), "--profile is empty"),
        (("--known-failures=",), "--known-failures is empty"),
        (("--rest=http://localhost:80a0",), "the server cannot be reached at http://localhost:80a0: "),
        (("--grpc=https://localhost:8001",), "gRPC is tested without TLS"),
    ],
)
def test_wrong_options(
    options: tuple[str, ...], reason: str, server: WrongServer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(server, *options) == 2
    said = "".join(capfd.readouterr())
    assert reason in said
    assert "Traceback" not in said


def test_report_that_is_checked_is_not_left_behind(server: WrongServer, tmp_path: Path) -> None:
    """It is known before the run whether a report can be written; a report of earlier is not harmed."""
    new, old = tmp_path / "new" / "r.md", tmp_path / "r.md"
    old.write_text("of yesterday")
    assert _run(server, f"--report={new}", f"--report={old}", "--profile=no_such_profile") == 2
    assert not new.exists()
    assert _run(server, f"--report={new}", f"--report={old}", "--known-failures=no_such_file") == 2
    assert old.read_text() == "of yesterday"


def test_report_that_cannot_be_written_in_the_end(
    server: WrongServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was found out is told all the same."""
    report = tmp_path / "gone" / "r.md"
    send = RestClient.send

    def remove(client: RestClient, method: str, path: str, *others: Any) -> Any:
        if report.parent.is_dir():
            report.parent.rmdir()
        return send(client, method, path, *others)

    monkeypatch.setattr(RestClient, "send", remove)
    assert _run(server, f"--report={report}", "--only=REST-LIVE") == 2
    said = capfd.readouterr().out
    assert "verdict: not tested" in said
    assert f"--report {report} could not be written: " in said


def test_error_of_the_suite_is_no_verdict(server: WrongServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's status for its own errors is that of `not tested`."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("of the suite")

    monkeypatch.setattr("kserve_v2_conformance.plugin.connect", fail)
    assert _run(server, "--only=LIVE") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        ((), 0, ""),
        (("--level=extensions", "--only=logging"), 0, ""),
        (("-k", "not wrong_log_setting"), 3, "2 of its cases were not selected"),
        (("-k", "not (wrong_log_setting and rest)"), 3, "1 of its cases was not selected"),
    ],
)
def test_case_that_is_left_out(
    options: tuple[str, ...], status: int, why: str, run_suite: RunSuite, server: WrongServer
) -> None:
    """Who leaves out the case that fails has no server that conforms, though enough others were run."""
    run = run_suite(server, "--only=logging", *options, cases=(str(SUITE / "test_settings.py"),))
    logging = next(each for each in run.report["verdicts"] if each["part"] == "logging")
    assert (run.status, logging["why"]) == (status, why)
    assert logging["verdict"] == run.report["verdict"] == ("not tested" if why else "conforms")


@pytest.mark.parametrize("entry", ["infer/plan-json", "no_such_module/case"])
def test_known_failure_that_is_no_case(
    entry: str, server: WrongServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "known.txt"
    known.write_text(f"{entry} # it was called so once\n")
    assert _run(server, f"--known-failures={known}", "--only=LIVE") == 2
    assert f"there is no case {entry}" in "".join(capfd.readouterr())


def test_known_failures_of_files_that_are_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--lf skips files in which nothing failed; entries for their cases are right all the same."""
    known = tmp_path / "known.txt"
    known.write_text("metadata/server-metadata # it is different\n")
    monkeypatch.chdir(tmp_path)
    with serve("live-500") as wrong:
        assert _run(wrong, "-k", "server_live") == 1
        assert _run(wrong, "--lf", f"--known-failures={known}") == 1


def test_no_server(capfd: pytest.CaptureFixture[str]) -> None:
    options = ["-p", "no:timeout", "--capture=no"]
    assert main(["run", "--rest=http://127.0.0.1:9", *options]) == 2
    assert "the server cannot be reached" in "".join(capfd.readouterr())
    assert (
        pytest.main(
            ["-c", str(SUITE / "pytest.ini"), "-p", "kserve_v2_conformance.plugin", *options, str(SUITE)]
        )
        == 4
    )
    assert "--rest URL" in "".join(capfd.readouterr())


def test_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "models"
    assert main(["models", "--for", "triton", str(directory)]) == 0
    assert "models for triton in" in capsys.readouterr().out
    assert (directory / "add_sub" / "config.pbtxt").is_file()
    assert main(["models", "--for", "triton", str(directory)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_unknown_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models", "--for", "triton", "x", "--fast"])
    assert "unrecognized arguments: --fast" in capsys.readouterr().err


def test_core_level_has_no_extensions(run_suite: RunSuite, server: WrongServer) -> None:
    run = run_suite(server, "--level=core", "--only=PARAM", "--only=INFER-004", "--only=BAD-001")
    assert run.status == 3
    assert {case["id"].rpartition("-")[2] for case in run.report["cases"]} == {"json", "raw", "typed"}


def test_extensions_that_are_not_advertised(run_suite: RunSuite) -> None:
    with serve(without=frozenset(("trace",))) as plain:
        run = run_suite(plain, "--only=LIVE", "--only=LOG", cases=(str(SUITE / "test_settings.py"),))
        assert run.outcome("REST-TRACE-001") == "not covered"
        assert run_suite(plain, "--only=trace").outcome("REST-TRACE-001") == "pass"


def test_nothing_to_test(run_suite: RunSuite, tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('without = ["trace"]\n')
    with serve(without=frozenset(("logging",))) as plain:
        run = run_suite(plain, f"--profile={profile}", cases=(str(SUITE / "test_settings.py"),))
    assert run.status == 3
    assert run.case("settings/trace-settings/rest")["reason"] == "the server does not advertise trace"


def test_server_without_models(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serve() as empty:
        empty.engine.models.clear()
        for level in ("core", "extensions"):
            assert _run(empty, "-k", "test_server_live or plain", f"--level={level}") == 3
            assert "Name two of its own in a --profile" in capfd.readouterr().out
        assert _run(empty, "--only=LIVE") == 3
        assert "No inference was tested" not in capfd.readouterr().out


@pytest.mark.slow
def test_two_models_are_enough(run_suite: RunSuite, tmp_path: Path) -> None:
    """A server whose owner names an identity and an add_sub of their own: core runs, and nothing fails."""
    profile = tmp_path / "profile.toml"
    profile.write_text('identity.INT32 = "mirror"\nadd_sub = "simple"\n')
    specs = {model.name: model for model in CATALOGUE}
    with serve() as plain:
        plain.engine.models.clear()
        for name, spec in (
            ("mirror", specs["identity_batched_variable"]),
            ("simple", specs["add_sub_batched"]),
        ):
            renamed = type(spec)(name, spec.behaviour, spec.inputs, spec.outputs, spec.max_batch_size)
            plain.engine.models[name] = renamed
            plain.engine.counters[name, "1"] = plain.engine.counters["add_sub", "1"]
        run = run_suite(plain, f"--profile={profile}", "--level=core")
    assert run.status == 0, [case for case in run.report["cases"] if case["outcome"] == "fail"]
    passed = [clause["id"] for clause in run.report["clauses"] if clause["outcome"] == "pass"]
    assert len(passed) > 140
    reasons = {case["reason"] for case in run.report["cases"] if case["outcome"] == "not covered"}
    assert (
        "the server has no model identity_fp64; a profile may name another one for identity.FP64" in reasons
    )


_END = "the server cannot be reached over {} any more since health/model-ready; last sent: GET /v2/models/identity_fp32/ready"


def _ends(report: dict[str, Any]) -> list[str]:
    return [each.partition(" (")[0] for each in report["ended"]]


def test_server_that_ends(run_suite: RunSuite) -> None:
    """The case that ends the server fails and is named with its request; those after it are not run, and say so."""
    with serve("ends-at-model-ready") as mortal:
        stop_rest = mortal.rest.stop
        mortal.rest.stop = lambda: (mortal.grpc.stop(), stop_rest())  # type: ignore[method-assign,func-returns-value]
        run = run_suite(mortal, cases=(str(SUITE / "test_health.py"),))
        mortal.rest.stop = stop_rest  # type: ignore[method-assign]
    assert run.status == 1
    assert run.outcome("REST-LIVE-001") == "pass"
    assert run.outcome("REST-MREADY-001") == "fail"
    assert run.outcome("GRPC-LIVE-001") == "not covered"
    assert run.case("health/grpc-server-live")["reason"] == f"not run: {_END.format('gRPC')}"
    assert _ends(run.report) == [_END.format("REST"), _END.format("gRPC")]


def test_server_that_ends_over_one_protocol(run_suite: RunSuite, tmp_path: Path) -> None:
    """The other protocol is tested to the end, as far as its cases do not need the first."""
    page = tmp_path / "half.md"
    with serve("ends-at-model-ready", "grpc-server-without-name") as half:
        cases = (f"{SUITE}/test_health.py", f"{SUITE}/test_metadata.py")
        run = run_suite(half, f"--report={page}", cases=cases)
    assert _ends(run.report) == [_END.format("REST")]
    assert run.outcome("GRPC-MREADY-001") == "pass"
    # What fails later is not what has ended it.
    assert run.outcome("GRPC-META-002") == "fail"
    assert f"not run: {_END.format('REST')} |" in page.read_text()
    needs_both = run.case("metadata/server-metadata-over-both")
    assert (needs_both["outcome"], needs_both["reason"]) == ("not covered", f"not run: {_END.format('REST')}")


def test_grpc_port_that_is_dead(server: WrongServer, capfd: pytest.CaptureFixture[str]) -> None:
    """As for REST: it could not be run. Not one case that wants an error may take the dead port for one."""
    for address in ("127.0.0.1:9", server.rest.url):
        assert main(["run", f"--rest={server.rest.url}", f"--grpc={address}", *_QUIET]) == 2
        assert "the server cannot be reached over gRPC at 127.0.0.1:" in "".join(capfd.readouterr())


def test_address_as_people_write_it(server: WrongServer) -> None:
    options = [
        f"--rest={server.rest.url}/v2/",
        f"--grpc=grpc://{server.grpc.address}",
        "--only=REST-META",
        *_QUIET,
    ]
    assert main(["run", *options, "-k", "server_metadata"]) == 3


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"conformance {__version__}\n")


def test_capabilities(capsys: pytest.CaptureFixture[str]) -> None:
    """What `conformance capabilities` lists is what a profile may name, and the other way round."""
    assert main(["capabilities"]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith(" ")]
    assert listed[0] == "identity.<datatype>"
    assert parse_profile(dict.fromkeys(listed[1:], "m"), "p").models == dict.fromkeys(listed[1:], "m")
    identities = {f"identity_{datatype.lower()}" for datatype in DATATYPES}
    assert {model.name for model in CATALOGUE} - identities == set(listed[1:])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('identity.INT32 = "add_sub"\nadd_sub = "identity_int32"\n', "the profile's identity.INT32: expected one input and one output"),
        ('add_sub = "identity_int32"\n', "the profile's add_sub: expected 2 inputs and 2 outputs; identity_int32 has INPUT0 INT32[-1]"),
        ('identity.FP32 = "identity_fp64"\n', "one output of datatype FP32; identity_fp64 has INPUT0 FP64[-1]"),
        ('add_sub = "string_concatenate"\n', "the profile's add_sub: expected 2 inputs and 2 outputs"),
        ('string_length = "identity_bytes"\n', "string_length: expected the datatypes BYTES, INT32"),
        ('add_sub = "simple"\n', "the profile's add_sub: the server has no model simple"),
    ],
)  # fmt: skip
def test_profile_of_models_that_cannot_be(
    text: str, reason: str, server: WrongServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text(text)
    assert _run(server, f"--profile={profile}", "--only=LIVE") == 2
    said = "".join(capfd.readouterr())
    assert reason in said
    assert "Traceback" not in said


@pytest.mark.parametrize("dims", [(1,), (4, 4)])
def test_model_of_a_profile_that_returns_another_shape(
    dims: tuple[int, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A mean is no identity; the server that computes it is not to blame for that."""
    profile = tmp_path / "profile.toml"
    profile.write_text('identity.FP32 = "mean"\n')
    inputs, outputs = (TensorSpec("x", "FP32", (4,)),), (TensorSpec("mean", "FP32", dims),)
    with serve() as plain:
        plain.engine.models["mean"] = ModelSpec("mean", Behaviour.IDENTITY, inputs, outputs, max_batch_size=8)
        assert _run(plain, f"--profile={profile}", "--only=LIVE") == 2
    said = "".join(capfd.readouterr())
    assert (
        "identity.FP32: expected outputs of the shape of the inputs; mean has x FP32[-1, 4] and returns"
        in said
    )


def _with_type_prefix(answer: RestAnswer) -> RestAnswer:
    return replace(answer, body=answer.body.replace(b'"datatype": "', b'"datatype": "TYPE_'))


def test_metadata_of_a_profile_that_are_malformed(
    run_suite: RunSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong metadata break the clause about them; the model is there, and is used as far as they can be understood."""
    profile = tmp_path / "profile.toml"
    profile.write_text('identity.FP32 = "identity_fp32"\n')
    cases = (f"{SUITE}/test_metadata.py", f"{SUITE}/test_infer.py::test_case[plain-json]")
    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2/models/[^/]+", _with_type_prefix))
    with serve("spoilt", "missing-call:ModelMetadata") as server:
        run = run_suite(server, f"--profile={profile}", cases=cases)
    assert (run.status, run.report["verdict"]) == (1, "fails")
    assert run.outcome("REST-MODEL-007") == "fail"
    assert run.outcome("REST-INFER-001") == "pass"


def test_server_of_something_else(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The port of the metrics, or a path too many: no server is to be blamed for that."""
    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2(/health/.*)?", lambda _: RestAnswer(404)))
    with serve("spoilt") as other:
        assert _run(other, "--only=LIVE") == 2
        assert f"no v2 server is at {other.rest.url}: " in "".join(capfd.readouterr())


def test_body_that_is_too_deep(run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = RestAnswer(200, {"Content-Type": "application/json"}, b"[" * 100_000)
    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2", lambda _: deep))
    with serve("spoilt") as server:
        run = run_suite(server, "--only=META-001", cases=(f"{SUITE}/test_metadata.py::test_server_metadata",))
    assert (run.status, run.outcome("REST-META-002")) == (1, "fail")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["identity_batched", "identity_mixed"])
def test_false_metadata_of_one_model(name: str, run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of the catalogue is looked at, be it another identity than that of a datatype."""

    def lie(answer: RestAnswer) -> RestAnswer:
        return replace(answer, body=answer.body.replace(b"FP32", b"FP64"))

    monkeypatch.setitem(REST_CHANGES, "spoilt", (f"/v2/models/{name}", lie))
    with serve("spoilt") as server:
        run = run_suite(server, cases=(f"{SUITE}/test_metadata.py::test_model_metadata_are_true",))
    assert run.outcome("REST-MODEL-013") == "fail"


def test_metadata_without_an_answer(run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closed breaks the clauses about metadata, and not those about inference."""
    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2/models/identity_fp32", lambda _: RestAnswer(0)))
    cases = (
        f"{SUITE}/test_metadata.py::test_model_metadata",
        f"{SUITE}/test_infer.py::test_case[plain-json]",
    )
    with serve("spoilt") as server:
        server.engine.models = {"identity_fp32": server.engine.models["identity_fp32"]}
        run = run_suite(server, cases=cases)
    assert run.outcome("REST-MODEL-005") == "fail"
    assert run.outcome("REST-INFER-001") == "pass"


def test_metadata_that_say_nothing(
    run_suite: RunSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('identity.FP32 = "identity_fp32"\n')
    empty = RestAnswer(200, {"Content-Type": "application/json"}, b'{"inputs": [], "outputs": []}')
    monkeypatch.setitem(REST_CHANGES, "spoilt", ("/v2/models/identity_fp32", lambda _: empty))
    cases = (f"{SUITE}/test_metadata.py", f"{SUITE}/test_infer.py::test_case[plain-json]")
    with serve("spoilt", "missing-call:ModelMetadata") as server:
        server.engine.models = {"identity_fp32": server.engine.models["identity_fp32"]}
        run = run_suite(server, f"--profile={profile}", cases=cases)
    assert run.outcome("REST-MODEL-005") == "fail"
    reason = "the metadata of identity_fp32 do not say what its inputs and outputs are"
    assert run.case("infer/plain-json")["reason"] == reason


def test_run_that_is_stopped(run_suite: RunSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: the report is written, says what is missing, and promises nothing."""

    send = RestClient.send

    def interrupt(client: RestClient, method: str, path: str, *others: Any) -> Any:
        if path == "/v2/health/ready":
            raise KeyboardInterrupt
        return send(client, method, path, *others)

    monkeypatch.setattr(RestClient, "send", interrupt)
    page = tmp_path / "report.html"
    with serve() as server:
        run = run_suite(server, f"--report={page}", cases=(f"{SUITE}/test_health.py",))
    assert run.status == run.report["status"] == 2
    assert run.outcome("REST-LIVE-001") == "pass"
    assert run.report["partial"].startswith("the run was stopped after 1 of ")
    assert run.report["verdict"] == "not tested"
    untested = next(each for each in run.report["clauses"] if each["id"] == "REST-MREADY-001")
    assert untested["reason"] == run.report["partial"]
    assert f"partial: {run.report['partial']}" in page.read_text()


def test_first_failure_ends_the_run(run_suite: RunSuite) -> None:
    with serve("live-500") as server:
        run = run_suite(server, "--maxfail=1", cases=(f"{SUITE}/test_health.py",))
    assert run.report["partial"].startswith("the run was stopped after 1 of ")
    assert run.status == 1


def test_reader_that_has_read_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `head` does."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["capabilities"]) == 2
