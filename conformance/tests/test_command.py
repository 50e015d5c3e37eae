"""The command, and the plugin's own behaviour: selection, profiles, servers that end."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RunSuite, WrongServer, serve

from kserve_v2_conformance.cli import SUITE, main
from kserve_v2_conformance.models.catalogue import CATALOGUE


@pytest.fixture(scope="module")
def server() -> Iterator[WrongServer]:
    with serve() as running:
        yield running


def _conformance(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kserve_v2_conformance", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_run_from_the_command_line(server: WrongServer) -> None:
    done = _conformance(
        "run", f"--rest={server.rest.url}", f"--grpc={server.grpc.address}", "--only", "LIVE", "META", "-vv"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_server_live" in done.stdout
    assert "core gRPC" in done.stdout
    assert "conforms" in done.stdout


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
    assert done.returncode == 0, done.stdout + done.stderr
    # gRPC was not named.
    assert "1 passed, 1 skipped" in done.stdout


def _run(server: WrongServer, *options: str) -> int:
    quiet = ("-p", "no:timeout", "--capture=no")
    return main(["run", f"--rest={server.rest.url}", f"--grpc={server.grpc.address}", *options, *quiet])


def test_status_of_the_command(server: WrongServer, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    assert _run(server, "--only", "LIVE", f"--report={report}", "--profile=triton", "--server-name=x") == 0
    assert '"name": "x"' in report.read_text()
    with serve("live-500") as wrong:
        assert _run(wrong, "--only", "LIVE") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--only=NO-SUCH-CLAUSE",), "no clause starts so"),
        (("--profile=no_such_profile",), "no profile no_such_profile"),
        (("--known-failures=no_such_file",), "No such file"),
        (("--report=report.pdf",), "ends in .json"),
    ],
)
def test_wrong_options(
    options: tuple[str, ...], reason: str, server: WrongServer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(server, *options) == 2
    assert reason in "".join(capfd.readouterr())


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
    assert run.status == 0
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
    assert run.status == 1
    assert run.case("settings/trace-settings/rest")["reason"] == "the server does not advertise trace"


def test_server_without_models(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serve() as empty:
        empty.engine.models.clear()
        assert _run(empty, "-k", "test_server_live or plain") == 0
    assert "Name two of its own in a --profile" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(600)  # hundreds of cases, as one test
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
            plain.engine.counters[name] = plain.engine.counters["add_sub"]
        run = run_suite(plain, f"--profile={profile}", "--level=core")
    assert run.status == 0, [case for case in run.report["cases"] if case["outcome"] == "fail"]
    passed = [clause["id"] for clause in run.report["clauses"] if clause["outcome"] == "pass"]
    assert len(passed) > 140
    reasons = {case["reason"] for case in run.report["cases"] if case["outcome"] == "not covered"}
    assert (
        "the server has no model identity_fp64; a profile may name another one for identity.FP64" in reasons
    )


def test_server_that_ends(run_suite: RunSuite) -> None:
    """The case that ends the server fails; those after it are not covered."""
    with serve("ends-at-model-ready") as mortal:
        run = run_suite(mortal, cases=(str(SUITE / "test_health.py"),))
    assert run.status == 1
    assert run.outcome("REST-LIVE-001") == "pass"
    assert run.outcome("REST-MREADY-001") == "fail"
    assert run.outcome("GRPC-LIVE-001") == "not covered"
    reason = "the server cannot be reached any more, since health/model-ready"
    assert run.case("health/grpc-server-live")["reason"] == reason
