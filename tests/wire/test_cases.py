"""Sends every case of `cases/` to a server, and compares what comes back."""

import time

import pytest

from tests.wire.casefiles import Entry, cases, expectation, grpc_case, rest_case
from tests.wire.checks import grpc_differences, rest_differences
from tests.wire.target import Target, read_answer

KINDS = ("rest", "grpc", "stream", "exchange", "turns", "scenario")


def _expect_none(differences: list[str]) -> None:
    if differences:
        pytest.fail("\n".join(differences), pytrace=False)


def _rest(target: Target, entry: Entry) -> list[str]:
    case = rest_case(entry)
    return rest_differences(target.rest(case.method, case.path, case.headers, case.body), case.expected)


def _grpc(target: Target, entry: Entry) -> list[str]:
    case = grpc_case(entry)
    return grpc_differences(
        target.call(case.method, case.requests[0], case.metadata), case.method, case.expected
    )


@pytest.mark.parametrize("entry", cases("rest"))
def test_rest(models: Target, entry: Entry) -> None:
    _expect_none(_rest(models, entry))


@pytest.mark.parametrize("entry", cases("grpc"))
def test_grpc(models: Target, entry: Entry) -> None:
    _expect_none(_grpc(models, entry))


@pytest.mark.parametrize("entry", cases("stream"))
def test_stream(models: Target, entry: Entry) -> None:
    case = grpc_case({**entry, "call": "ModelStreamInfer"})
    answer = models.stream(case.requests, case.metadata)
    _expect_none(grpc_differences(answer, case.method, case.expected))


@pytest.mark.parametrize("entry", cases("exchange"))
def test_exchange(models: Target, entry: Entry) -> None:
    expected = expectation(entry)
    with models.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(entry["send"].encode("latin-1"))
        for wanted in expected["answers"]:
            _expect_none(rest_differences(read_answer(reader, wanted.get("method", "GET")), wanted))
        if expected["closed"]:
            assert reader.read() == b""
        else:
            # The connection is good for another request.
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(reader).status == 200


@pytest.mark.parametrize("entry", cases("turns"))
def test_turns(models: Target, entry: Entry) -> None:
    _take_all(models, entry["step"])


@pytest.mark.parametrize("entry", cases("scenario"))
def test_scenario(states: Target, entry: Entry) -> None:
    _take_all(states, entry["step"])


def _take_all(target: Target, steps: list[Entry]) -> None:
    for number, step in enumerate(steps, 1):
        differences = _take(target, step)
        deadline = time.monotonic() + 60
        while differences and step.get("eventually") and time.monotonic() < deadline:
            differences = _take(target, step)
        _expect_none([f"step {number}: {difference}" for difference in differences])


def _take(target: Target, step: Entry) -> list[str]:
    return _rest(target, step) if "send" in step else _grpc(target, step)


def test_every_difference_has_a_reason() -> None:
    entries = [case.values[0] for kind in KINDS for case in cases(kind)]
    steps = [step for entry in entries for step in [entry, *entry.get("step", [])] if "triton" in step]
    assert [step for step in steps if not {"why", "skip"} & step["triton"].keys()] == []
