"""Cases on servers that are odd but no wonder: without some models or extensions, or with answers nobody can read."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from conftest import RunSuite, WrongServer, serve
from wrongserver.changes import REST_CHANGES, RestAnswer, RestChange

from kserve_v2_conformance.cli import SUITE
from kserve_v2_conformance.models.catalogue import BY_NAME


def _answers(status: int, body: bytes) -> RestChange:
    return lambda _: RestAnswer(status, {"Content-Type": "application/json"}, body)


def _seen(report: dict[str, Any]) -> tuple[str, str]:
    """The outcome of the only case of a run, and what was said about it."""
    (case,) = report["cases"]
    return case["outcome"], "; ".join([case["reason"], *(each["got"] for each in case["findings"])])


# What REST paths answer whatever is asked, the case, and what is said about it.
SPOILT: list[tuple[str, int, bytes, str, str]] = [
    ("/v2/trace/setting", 500, b"", "test_settings.py::test_trace_settings[rest]", "the call for settings failed"),
    (".*/config", 404, b"{}", "test_model_configuration.py::test_configuration[rest]", "status 404"),
    (".*/config", 200, b"{}", "test_model_configuration.py::test_tensors[identity-rest]", "null"),
    ("/v2/repository/index", 200, b"{}", "test_model_repository.py::test_index[rest]", "index: 200 {}"),
    ("/v2/systemsharedmemory/status", 200, b"{}", "test_shared_memory.py::test_register_and_unregister[rest]", "status: {}"),
    (".*/stats", 200, b'{"model_stats": []}', "test_statistics.py::test_members[rest]", "statistics of identity_fp32 have the entries []"),
    (".*/infer", 500, b'{"error": "x"}', "test_classification.py::test_largest_two[rest]", "status='500'"),
    (".*/infer", 500, b'{"error": "x"}', "test_classification.py::test_batch[rest]", "status='500'"),
    (".*/infer", 500, b'{"error": "x"}', "test_concurrency.py::test_concurrent_clients[identity-rest]", "256 wrong answers, first: client 0: 500 x"),
    (".*/infer", 200, b"[", "test_concurrency.py::test_concurrent_clients[identity-rest]", "256 wrong answers, first: client 0: the body is no JSON"),
]  # fmt: skip


Spoil = Callable[[str, int, bytes, str], tuple[str, str]]
"""Runs a case on a server that answers a REST path in one way; what is seen of it."""


@pytest.fixture
def spoil(run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch) -> Spoil:
    def run(path: str, status: int, body: bytes, case: str) -> tuple[str, str]:
        monkeypatch.setitem(REST_CHANGES, "spoilt", (path, _answers(status, body)))
        with serve("spoilt") as server:
            return _seen(run_suite(server, cases=(f"{SUITE}/{case}",)).report)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("path", "status", "body", "case", "got"), SPOILT)
def test_answer_that_cannot_be_used(
    path: str, status: int, body: bytes, case: str, got: str, spoil: Spoil
) -> None:
    outcome, said = spoil(path, status, body, case)
    assert outcome == "fail"
    assert got in said


def _only(*names: str) -> Callable[[WrongServer], None]:
    def change(server: WrongServer) -> None:
        server.engine.models = {name: BY_NAME[name] for name in names}

    return change


def _withholding(name: str) -> Callable[[WrongServer], None]:
    return lambda server: server.engine.withheld.add(name)


def _unversioned(server: WrongServer) -> None:
    """Metadata without versions, of a server that says it has the generate extension."""
    server.engine.defects |= {"version-invented"}
    server.engine.extensions.append("generate")


def _foreign(server: WrongServer) -> None:
    """Models of another backend than that of Python files."""
    server.engine.backend = "other"


def _without_string_ids(server: WrongServer) -> None:
    server.engine.extensions.remove("sequence(string_id)")


def _elsewhere(server: WrongServer) -> None:
    """Another name of this machine, which the suite does not take for it."""
    server.rest.url = server.rest.url.replace("127.0.0.1", "0.0.0.0")


# What is done to the server, its defects, the case, and why it is not covered.
NOT_COVERED: list[tuple[Callable[[WrongServer], None] | None, tuple[str, ...], str, str]] = [
    (_only("identity_bytes"), (), "test_binary.py::test_raw_request[identity]", "does not follow from the number of bytes"),
    (_only("identity_bytes"), (), "test_rest_form.py::test_nested_data", "no identity and no add_sub has two dimensions"),
    (_only("identity_bytes"), (), "test_json_data.py::test_structure[ragged]", "no identity takes two rows of three"),
    (_only("identity_fp16"), (), "test_json_data.py::test_coding_of_answer[gzip]", "JSON carries no FP16 and BF16"),
    (_only("identity_fp16"), (), "test_rest_form.py::test_escapes", "JSON carries no FP16 and BF16"),
    (_only("identity_fp16"), (), "test_grpc_contents.py::test_serving_goes_on", "typed contents carry no FP16 and BF16"),
    (_only(), (), "test_metadata.py::test_model_metadata", "the server has none of the models"),
    (None, ("version-invented",), "test_health.py::test_version_ready", "list no versions"),
    (None, ("version-invented",), "test_metadata.py::test_versions", "no model lists versions"),
    (None, ("version-invented",), "test_model_configuration.py::test_versions[rest]", "list no versions"),
    (None, ("version-invented",), "test_statistics_detail.py::test_version[rest]", "list fewer than two versions"),
    (None, ("index-empty",), "test_model_repository.py::test_load_broken_model[rest]", "the repository has no model broken"),
    (_withholding("loadable"), (), "test_model_repository.py::test_load_and_unload[rest]", "the repository has no model loadable"),
    (_withholding("broken"), (), "test_model_repository.py::test_error_of_load[broken]", "the repository has no model broken"),
    (_unversioned, (), "test_generate.py::test_version[generate]", "list no versions"),
    (_foreign, (), "test_model_overrides.py::test_files[rest]", "is not the one of Python files"),
    (_without_string_ids, (), "test_sequence.py::test_string_id[rest]", "does not advertise sequence(string_id)"),
    (_elsewhere, (), "test_shared_memory.py::test_input[0-rest]", "the server runs on another machine"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("change", "defects", "case", "reason"), NOT_COVERED)
def test_case_that_is_not_covered(
    change: Callable[[WrongServer], None] | None,
    defects: Iterable[str],
    case: str,
    reason: str,
    run_suite: RunSuite,
) -> None:
    with serve(*defects) as server:
        if change:
            change(server)
        run = run_suite(server, cases=(f"{SUITE}/{case}",))
    outcome, said = _seen(run.report)
    assert outcome == "not covered"
    assert reason in said


def test_machine_without_shared_memory(run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the suite's own machine has none is not the server's fault."""

    def refuse(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kserve_v2_conformance.suite.test_shared_memory.SharedMemory", refuse)
    with serve() as server:
        run = run_suite(server, cases=(f"{SUITE}/test_shared_memory.py::test_input[0-rest]",))
    outcome, said = _seen(run.report)
    assert (outcome, said) == (
        "not covered",
        "this machine gives no shared memory: [Errno 28] No space left on device",
    )


@pytest.mark.parametrize(
    ("path", "status", "body", "case", "reason"),
    [
        (".*/load", 503, b"{}", "test_model_repository.py::test_load_unknown_model[rest]", "loading is switched off: 503"),
    ],
)  # fmt: skip
def test_answer_that_leaves_a_case_out(
    path: str, status: int, body: bytes, case: str, reason: str, spoil: Spoil
) -> None:
    outcome, said = spoil(path, status, body, case)
    assert outcome == "not covered"
    assert reason in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        "test_stream.py::test_ordinary_model",
        "test_concurrency.py::test_concurrent_clients[identity-rest]",
    ],
)
def test_identity_of_text_is_enough(case: str, run_suite: RunSuite) -> None:
    with serve() as server:
        _only("identity_bytes")(server)
        run = run_suite(server, "--profile=triton", cases=(f"{SUITE}/{case}",))
    assert _seen(run.report)[0] == "pass"


def _with_loadable(server: WrongServer) -> None:
    server.engine.load("loadable", {})


def _with_files(server: WrongServer) -> None:
    server.engine.files_can_change = True


@pytest.mark.parametrize(
    ("change", "case"),
    [
        (_with_loadable, "test_model_repository.py::test_load_and_unload[rest]"),
        (_with_files, "test_settings.py::test_trace_file[rest]"),
        (_with_files, "test_settings.py::test_log_file[rest]"),
    ],
)
def test_server_that_does_it_another_way(
    change: Callable[[WrongServer], None], case: str, run_suite: RunSuite
) -> None:
    """A model that is loaded already; files that can be changed."""
    with serve() as server:
        change(server)
        run = run_suite(server, cases=(f"{SUITE}/{case}",))
    assert _seen(run.report)[0] == "pass"


def test_server_that_wants_a_version(spoil: Spoil) -> None:
    refusal = b'{"error": "name a version"}'
    assert (
        spoil("/v2/models/versions/infer", 400, refusal, "test_infer.py::test_no_version[rest]")[0] == "pass"
    )


def test_stream_that_fails(run_suite: RunSuite) -> None:
    with serve("missing-call:ModelStreamInfer") as server:
        run = run_suite(server, "--profile=triton", cases=(f"{SUITE}/test_stream.py::test_ordinary_model",))
    outcome, said = _seen(run.report)
    assert outcome == "fail"
    assert "ModelStreamInfer ended with UNIMPLEMENTED" in said
