"""Sequences over real sockets: who is executed where, with what, in which order, and what is refused.

Numbers are rows of scheduling.md, parts 3 to 5.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import Channel
from tests.integration.sequence_models import (
    CONTROLS,
    Stream,
    accumulator,
    batching,
    corrid,
    grpc_step,
    ids,
    read,
    rest_step,
)
from tests.integration.support import Gate, Wire, error_of, pending, statistics, wait_until

# Says what it was told of its sequence, without a sequence batcher.
PLAIN = """
import json

class Model:
    inputs = {"IN": ("INT32", [-1]), "PORT": ("INT32", [1])}
    outputs = {"SUM": ("INT32", [1]), "INFO": ("BYTES", [1])}
    max_batch_size = 4

    def __call__(self, inputs, requests):
        told = [request.sequence and [request.sequence.id, request.sequence.start, request.sequence.end] for request in requests]
        parameters = [request.parameters for request in requests]
        return {"SUM": [[0]] * len(told), "INFO": [[json.dumps(each)] for each in zip(told, parameters)]}
"""

# Answers each step with all numbers of its sequence so far, one response for each.
DECOUPLED = """
class Model:
    inputs = {"IN": ("INT32", [-1]), "PORT": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}

    def load(self, context):
        self.seen = {}

    def __call__(self, inputs, request):
        step = request.sequence
        if step.start:
            self.seen[step.id] = []
        self.seen[step.id] += inputs["IN"].ravel().tolist()
        for value in list(self.seen[step.id]):
            yield {"OUT": [value]}
"""

FAILING = """
class Model:
    inputs = {"IN": ("INT32", [-1]), "PORT": ("INT32", [1])}
    outputs = {"SUM": ("INT32", [1]), "INFO": ("BYTES", [1])}
    max_batch_size = 4

    def __call__(self, inputs, requests):
        if (inputs["IN"] < 0).any():
            raise ValueError("no")
        return {"SUM": inputs["IN"].sum(axis=1, keepdims=True, dtype="int32"), "INFO": [["{}"]] * len(requests)}
"""

STRATEGIES = ("direct", "oldest")


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """A server of models with sequences."""
    root = tmp_path_factory.mktemp("sequences")
    numbered = CONTROLS + corrid("UINT64")
    oldest = "oldest { max_candidate_sequences: 6 }"
    write_model(root, "direct", accumulator(), batching("direct {}", extra=numbered))
    write_model(root, "oldest", accumulator(), batching(oldest, extra=numbered))
    write_model(root, "direct2", accumulator(), batching("direct {}", instances=2, extra=numbered))
    write_model(root, "oldest2", accumulator(), batching(oldest, instances=2, extra=numbered))
    write_model(root, "bare", accumulator(), batching("", extra=""))
    write_model(root, "texts", accumulator(), batching(oldest, extra=corrid("STRING")))
    for kind in ("INT32", "UINT32", "INT64"):
        write_model(root, kind.lower(), accumulator(), batching(oldest, extra=corrid(kind)))
    one = "oldest { max_candidate_sequences: 1 }"
    write_model(root, "one", accumulator(), batching(one, extra=""))
    write_model(
        root, "ordered", accumulator(), batching("oldest { preserve_ordering: true }", instances=2, extra="")
    )
    write_model(root, "brief", accumulator(), batching(one, extra="", idle_us=100_000))
    full = "direct { max_queue_delay_microseconds: 600000000 minimum_slot_utilization: 1 }"
    write_model(root, "full", accumulator(), batching(full, extra=numbered))
    write_model(root, "decoupled", DECOUPLED, batching(oldest, extra=""))
    write_model(root, "failing", FAILING, batching("direct {}", extra=""))
    write_model(root, "plain", PLAIN)
    return start_server(root)


@pytest.fixture(autouse=True)
def sequences_end(server: RunningServer) -> Iterator["Used"]:
    """The sequences of a test end with it: others need their slots, and the server must not wait for them at its end."""
    used = Used(server)
    yield used
    used.end_all()


class Used:
    """The sequences that a test has begun and not ended."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._open: set[tuple[str, Any]] = set()

    def __call__(self, model: str, *sequences: Any) -> None:
        """These are to be ended."""
        self._open |= {(model, each) for each in sequences}

    def end_all(self) -> None:
        """End those that are live."""
        for model, sequence in self._open:
            self._server.infer(model, rest_step(sequence, 0, "."))


@pytest.fixture
def stream(server: RunningServer) -> Iterator[Stream]:
    """A gRPC stream."""
    with Stream(server) as made:
        yield made


def start_text(sequence: object, model: str) -> str:
    return (
        f"inference request for sequence {sequence} to model '{model}' must specify the START flag on the first request "
        "of the sequence"
    )


def no_id_text(model: str) -> str:
    return f"inference request to model '{model}' must specify a non-zero or non-empty correlation ID"


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", STRATEGIES)
@pytest.mark.parametrize(
    ("sequence", "flags", "text"),
    [
        (9, "", start_text(9, "{model}")),  # 3.2
        (9, ".", start_text(9, "{model}")),
        (None, "+", no_id_text("{model}")),  # 3.4
        (0, "+", no_id_text("{model}")),
        ("", "+", no_id_text("{model}")),
        (
            "abc",
            "+",
            "sequence batching control 'CORRID' data-type is 'BYTES', but model '{model}' expects 'UINT64'",
        ),
    ],
)
def test_requests_that_are_no_step_of_a_sequence(
    server: RunningServer, channel: Channel, model: str, sequence: object, flags: str, text: str
) -> None:
    wanted = text.format(model=model)
    answer = server.infer(model, rest_step(sequence, 1, flags))
    assert (answer.status_code, error_of(answer)) == (400, wanted)
    assert channel.infer_fails(grpc_step(model, sequence, 1, flags)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        wanted,
    )


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[Channel]:
    """A gRPC connection."""
    with Channel(server) as made:
        yield made


def test_an_unknown_text_is_printed_plainly(server: RunningServer) -> None:  # 3.3
    answer = server.infer("texts", rest_step("abc", 1))
    assert (answer.status_code, error_of(answer)) == (400, start_text("abc", "texts"))


@pytest.mark.parametrize("model", STRATEGIES)
def test_a_batch_of_two_is_refused(server: RunningServer, channel: Channel, model: str) -> None:  # 3.6
    text = f"inference request to model '{model}' must specify batch-size 1 due to requirements of sequence batcher"
    body = rest_step(7, 1, "+")
    for tensor in body["inputs"]:
        tensor["shape"], tensor["data"] = [2, 1], [1, 1]
    answer = server.infer(model, body)
    assert (answer.status_code, error_of(answer)) == (400, text)
    request = grpc_step(model, 7, 1, "+")
    for position, tensor in enumerate(request.inputs):
        tensor.shape[0] = 2
        request.raw_input_contents[position] = bytes(8)
    assert channel.infer_fails(request) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    # Nothing has begun.
    assert error_of(server.infer(model, rest_step(7, 1))) == start_text(7, model)


NOT_A_TEXT = "Unable to parse 'sequence_id': attempt to access JSON non-string as string"
NOT_A_BOOLEAN = "Unable to parse '{}': attempt to access JSON non-boolean as boolean"


@pytest.mark.parametrize("model", ["direct", "plain"])
@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        *(({"sequence_id": value}, NOT_A_TEXT) for value in (-5, 1.5, True, [1], 2**64)),  # 3.8
        *(
            ({name: value}, NOT_A_BOOLEAN.format(name))  # 3.9
            for name in ("sequence_start", "sequence_end")
            for value in (1, "true", [True])
        ),
    ],
)
def test_wrong_types_over_rest(
    server: RunningServer, model: str, parameters: dict[str, Any], text: str
) -> None:
    body = rest_step(7, 1, "+")
    body["parameters"] |= parameters
    answer = server.infer(model, body)
    assert (answer.status_code, error_of(answer)) == (400, text)


@pytest.mark.parametrize("model", ["direct", "plain"])
@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        *(
            (
                "sequence_id",
                value,
                "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.",
            )
            for value in ({"bool_param": True}, {"double_param": 1}, {"uint64_param": 7})  # 3.10
        ),
        ("sequence_id", {"int64_param": -5}, "invalid value for 'sequence_id', expected value >= 0."),  # 3.11
        *(
            (
                name,
                {"int64_param": 1},
                f"invalid value type for '{name}' parameter, expected bool_param.",
            )  # 3.12
            for name in ("sequence_start", "sequence_end")
        ),
    ],
)
def test_wrong_types_over_grpc(
    channel: Channel, model: str, name: str, value: dict[str, Any], text: str
) -> None:
    request = grpc_step(model, 7, 1)
    request.parameters[name].CopyFrom(pb.InferParameter(**value))
    assert channel.infer_fails(request) == (grpc.StatusCode.INVALID_ARGUMENT, text)


def test_controls_are_not_for_clients(server: RunningServer) -> None:  # 3.13, 4.5
    body = rest_step(7, 1, "+")
    body["inputs"].append({"name": "START", "datatype": "INT32", "shape": [1, 1], "data": [1]})
    answer = server.infer("direct", body)
    assert answer.status_code == 400
    assert "expected 2 inputs but got 3 inputs for model 'direct'" in error_of(answer)
    metadata = server.get("/v2/models/direct").json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["IN", "PORT"]
    shown = server.get("/v2/models/direct/config").json()["sequence_batching"]["control_input"]
    assert [entry["name"] for entry in shown] == ["START", "END", "READY", "CORRID"]


def test_sequences_are_advertised(server: RunningServer) -> None:
    assert {"sequence", "sequence(string_id)"} <= set(server.get("/v2").json()["extensions"])


# --- what a model sees -------------------------------------------------------------------------------------------


def test_a_model_without_sequences_is_told_too(server: RunningServer) -> None:  # 3.14, 3.15
    seen = []
    for body in (
        rest_step(7, 1, "+", a=1),
        rest_step("abc", 1, "+."),
        rest_step(2**64 - 1, 1),
        rest_step(None, 1),
    ):
        answer = server.infer("plain", body)
        seen.append(answer.json()["outputs"][1]["data"][0])
    assert seen == [
        '[[7, true, false], {"a": 1}]',
        '[["abc", true, true], {}]',
        "[[18446744073709551615, false, false], {}]",
        "[null, {}]",
    ]


def test_flags_without_controls(
    server: RunningServer, sequences_end: Used, stream: Stream
) -> None:  # 3.1, 4.2
    sequences_end("bare", 7)
    steps = [grpc_step("bare", 7, 1, flags) for flags in ("+", "", ".", "+.")]
    answers = stream.ask(*steps)
    assert [sums for sums, _ in answers] == [1, 2, 3, 1]
    assert [info["flags"] for _, info in answers] == [
        [True, False],
        [False, False],
        [False, True],
        [True, True],
    ]
    assert [info["controls"] for _, info in answers] == [{}] * 4


@pytest.mark.parametrize("model", STRATEGIES)
def test_the_controls_of_each_step(stream: Stream, model: str) -> None:  # 4.1, 4.3
    answers = [stream.ask(grpc_step(model, 2**63 - 1, 1, flags))[0] for flags in ("+", "", ".", "+.")]
    ids_and_ready = {"READY": [True], "CORRID": [2**63 - 1]}
    assert [info["controls"] for _, info in answers] == [
        {"START": [1], "END": [-1.0], **ids_and_ready},
        {"START": [0], "END": [-1.0], **ids_and_ready},
        {"START": [0], "END": [0.5], **ids_and_ready},
        {"START": [1], "END": [0.5], **ids_and_ready},
    ]
    assert {tuple(info["shapes"]) for _, info in answers} == {("[1, 1]",)}


def test_texts_as_ids(server: RunningServer, stream: Stream) -> None:  # 3.17
    for sequence in ("abc", "ü" * 100, "x" * 1000):
        [(_, info)] = stream.ask(grpc_step("texts", sequence, 1, "+."))
        assert info["controls"] == {"CORRID": [sequence]}
    answer = server.infer("texts", rest_step(7, 1, "+"))
    assert (
        error_of(answer)
        == "sequence batching control 'CORRID' data-type is 'UINT64', but model 'texts' expects 'BYTES'"
    )


@pytest.mark.parametrize(
    ("model", "most"), [("int32", 2**31 - 1), ("uint32", 2**32 - 1), ("int64", 2**63 - 1)]
)
def test_ids_that_the_control_cannot_hold_are_refused(
    server: RunningServer, model: str, most: int
) -> None:  # 3.18
    answer = server.infer(model, rest_step(most, 1, "+."))
    assert answer.status_code == 200
    assert f'"CORRID": [{most}]' in answer.json()["outputs"][1]["data"][0]
    answer = server.infer(model, rest_step(most + 1, 1, "+."))
    assert (answer.status_code, error_of(answer)) == (
        400,
        f"sequence batching control 'CORRID' of model '{model}' is of data-type '{model.upper()}', which holds "
        f"correlation IDs up to {most}, got {most + 1}",
    )


def test_7_and_text_7_are_two(stream: Stream) -> None:  # 3.7
    steps = [
        grpc_step("bare", 7, 1, "+"),
        grpc_step("bare", "7", 10, "+"),
        grpc_step("bare", 7, 2, "."),
        grpc_step("bare", "7", 20, "."),
    ]
    assert [sums for sums, _ in stream.ask(*steps)] == [1, 10, 3, 30]


def test_start_on_a_live_id_begins_anew_in_its_slot(stream: Stream, server: RunningServer) -> None:  # 3.5
    answers = stream.ask(*(grpc_step("direct", sequence, 5, flags) for sequence, flags in [
        (1, "+"), (2, "+"), (2, ""), (2, "+"), (2, "."), (1, "."),
    ]))  # fmt: skip
    assert [sums for sums, _ in answers] == [5, 5, 10, 5, 10, 10]
    assert [info["row"] for _, info in answers] == [0, 1, 1, 1, 1, 0]
    assert "sequence 2 for model 'direct' has a conflict" in server.log


# --- direct --------------------------------------------------------------------------------------------------------


def test_null_requests_keep_the_places(server: RunningServer, stream: Stream) -> None:  # 4.4, 5.2, 5.3, 5.4
    before = statistics(server, "direct")
    stream.ask(grpc_step("direct", 1, 5, "+"))
    stream.ask(grpc_step("direct", 2, 5, "+"))
    [(sums, info)] = stream.ask(grpc_step("direct", 2, 7))
    assert sums == 12
    assert info["row"] == 1
    assert info["ids"] == [0, 2]
    assert info["zeros"] == [True, False]
    assert info["controls"] == {
        "START": [0, 0],
        "END": [-1.0, -1.0],
        "READY": [False, True],
        "CORRID": [0, 2],
    }
    [(_, info)] = stream.ask(grpc_step("direct", 1, 7))
    assert info["ids"] == [1, 0]
    stream.ask(grpc_step("direct", 2, 7, "."))
    [(_, info)] = stream.ask(grpc_step("direct", 1, 7, "."))
    assert info["ids"] == [1]  # trailing free slots are cut off
    after = statistics(server, "direct")
    assert after["inference_count"] - before["inference_count"] == 6
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 6
    assert {entry["batch_size"] for entry in after["batch_stats"]} >= {1, 2}


def test_the_batch_waits_until_the_slots_are_used(stream: Stream) -> None:  # 5.5
    stream.send(*(grpc_step("full", number, 1, "+") for number in (1, 2, 3)))
    stream.send(grpc_step("full", 4, 1, "+"))
    assert ids(stream.answers(4)) == [[1, 2, 3, 4]] * 4
    answers = stream.ask(*(grpc_step("full", number, 1, ".") for number in (4, 3, 2, 1)))
    assert ids(answers) == [[1, 2, 3, 4]] * 4
    assert [info["row"] for _, info in answers] == [3, 2, 1, 0]


def test_other_shapes_wait_for_the_next_execution(stream: Stream) -> None:  # 5.6
    with Gate() as gate:
        stream.send(grpc_step("direct", 1, 1, "+", gate.port))
        gate.await_start()
        stream.send(
            grpc_step("direct", 2, [1, 2], "+"),
            grpc_step("direct", 3, 4, "+"),
            grpc_step("direct", 4, [5, 6], "+"),
        )
        wait_for_queue = grpc_step("direct", 1, 1)
        stream.send(wait_for_queue)
        gate.open()
    answers = stream.answers(5)
    assert [sums for sums, _ in answers] == [1, 3, 4, 11, 2]
    for _, info in answers:
        assert not ({2, 4} & set(info["ids"]) and {1, 3} & set(info["ids"])), info
    stream.ask(*(grpc_step("direct", number, 1, ".") for number in (1, 2, 3, 4)))


# --- oldest --------------------------------------------------------------------------------------------------------


def test_one_request_of_a_sequence_at_a_time(server: RunningServer, stream: Stream) -> None:  # 5.7, 5.8
    with Gate() as gate:
        stream.send(grpc_step("oldest", 1, 1, "+", gate.port))
        gate.await_start()
        stream.send(
            grpc_step("oldest", 2, 1, "+"), grpc_step("oldest", 3, 1, "+"), grpc_step("oldest", 1, 1),
            grpc_step("oldest", 1, 1, "."), grpc_step("oldest", 2, 1, "."),
        )  # fmt: skip
        # Two wait for the instance, the others for their predecessors.
        wait_until(lambda: pending(server, "oldest") == 5)
        gate.open()
    answers = stream.answers(6)
    stream.ask(grpc_step("oldest", 3, 1, "."))
    assert [sums for sums, _ in answers] == [1, 1, 1, 2, 3, 2]
    assert [info["ids"] for _, info in answers if len(info["ids"]) > 3] == []
    assert all(len(set(info["ids"])) == len(info["ids"]) for _, info in answers)
    assert answers[1][1]["ids"][:2] == [2, 3]
    assert 0 not in {number for _, info in answers for number in info["ids"]}  # no null requests


def test_whole_sequences_wait_in_the_order_of_their_first_requests(stream: Stream) -> None:  # 5.9
    order = ["a+", "b+", "c+.", "b", "b.", "b+.", "a."]
    stream.send(*(grpc_step("one", name[0], 1, name[1:]) for name in order))
    executions = {name: info["execution"] for name, (_, info) in zip(order, stream.answers(7), strict=True)}
    assert sorted(order, key=executions.__getitem__) == ["a+", "a.", "b+", "b", "b.", "c+.", "b+."]


def test_a_backlogged_sequence_expires_as_a_whole(server: RunningServer, sequences_end: Used) -> None:  # 5.10
    sequences_end("one", "x")
    failed = statistics(server, "one")["inference_stats"]["fail"]["count"]
    with Stream(server) as holder, Stream(server) as stream:
        holder.ask(grpc_step("one", "x", 1, "+"))
        stream.send(
            grpc_step("one", "y", 1, "+"), grpc_step("one", "y", 1), grpc_step("one", "y", 1, "", timeout=1)
        )
        texts = [stream.next().error_message for _ in range(3)]
        assert texts == ["timeout of the corresponding sequence has been expired"] * 3
        stream.send(grpc_step("one", "y", 1))
        assert stream.next().error_message == start_text("y", "one")
        # No effect on who has a slot.
        assert [sums for sums, _ in holder.ask(grpc_step("one", "x", 1, ".", timeout=1))] == [2]
    assert statistics(server, "one")["inference_stats"]["fail"]["count"] == failed + 3
    with Channel(server) as channel, Stream(server) as holder:
        holder.ask(grpc_step("one", "x", 1, "+"))
        code, _ = channel.infer_fails(grpc_step("one", "z", 1, "+", timeout=1))
        assert code == grpc.StatusCode.UNAVAILABLE


def test_silence_ends_a_sequence_and_its_slot_goes_to_the_backlog(
    server: RunningServer, stream: Stream
) -> None:  # 5.11
    # It would be executed in the first one's silence; nothing else ends that.
    answers = stream.ask(grpc_step("brief", "a", 1, "+"), grpc_step("brief", "b", 1, "+."))
    assert [sums for sums, _ in answers] == [1, 1]
    answer = server.infer("brief", rest_step("a", 1))
    assert error_of(answer) == start_text("a", "brief")


def test_a_long_execution_is_no_silence(server: RunningServer) -> None:  # 5.11 REC
    with Stream(server) as stream, Gate() as gate:
        stream.send(grpc_step("brief", "a", 1, "+", gate.port), grpc_step("brief", "a", 2, "."))
        gate.await_start()
        # The idle time of another sequence passes meanwhile: it has come later, and ends earlier.
        with Stream(server) as other:
            other.send(grpc_step("brief", "b", 1, "+."))
            wait_until(lambda: pending(server, "brief") == 2)
            gate.open()
            assert [sums for sums, _ in stream.answers(2)] == [1, 3]
            assert [sums for sums, _ in other.answers(1)] == [1]


# --- who leaves ------------------------------------------------------------------------------------------------------


def test_a_client_that_leaves_ends_its_sequence(server: RunningServer) -> None:  # 5.12
    with Gate() as gate, Stream(server) as stream:
        with Wire(server) as wire:
            wire.send_infer("one", rest_step("a", 1, "+", gate.port))
            gate.await_start()
            stream.send(grpc_step("one", "a", 2), grpc_step("one", "b", 3, "+."))
            wait_until(lambda: pending(server, "one") == 2)
        answer = stream.next()
        assert answer.error_message == (
            "the request was cancelled: sequence a of model 'one' has ended with the cancellation of another request"
        )
        assert error_of(server.infer("one", rest_step("a", 1))) == start_text("a", "one")
        # Its slot is not free before its execution has ended.
        assert pending(server, "one") == 1
        gate.open()
        assert [sums for sums, _ in stream.answers(1)] == [3]


def test_what_waits_can_be_cancelled(server: RunningServer) -> None:
    with Gate() as gate, Stream(server) as stream, Channel(server) as channel:
        stream.send(grpc_step("one", "a", 1, "+", gate.port))
        gate.await_start()
        method = channel.method("ModelInfer", pb.ModelInferResponse)
        call = method.future(grpc_step("one", "b", 1, "+"), timeout=60)
        wait_until(lambda: pending(server, "one") == 1)
        call.cancel()
        wait_until(lambda: pending(server, "one") == 0)
        gate.open()
        assert [sums for sums, _ in stream.answers(1)] == [1]
        assert [sums for sums, _ in stream.ask(grpc_step("one", "a", 1, "."))] == [2]


def test_a_failed_execution_fails_its_members_and_no_sequence(server: RunningServer, stream: Stream) -> None:
    stream.send(grpc_step("failing", 1, 1, "+"), grpc_step("failing", 1, -1), grpc_step("failing", 1, 5, "."))
    first, second, third = stream.next(), stream.next(), stream.next()
    assert first.error_message == third.error_message == ""
    assert "ValueError: no" in second.error_message
    assert read(third.infer_response)[0] == 5
    entry = statistics(server, "failing")
    assert entry["inference_stats"]["fail"]["count"] == 1
    assert entry["inference_count"] == 2


# --- streams and decoupled models ------------------------------------------------------------------------------------


def test_answers_of_one_stream_are_in_order(stream: Stream) -> None:  # 3.19
    steps = [grpc_step("oldest2", number % 5 + 1, number, "+" if number < 5 else "") for number in range(40)]
    stream.send(*steps)
    for step in steps:
        assert stream.next().infer_response.id == step.id
    stream.ask(*(grpc_step("oldest2", number, 0, ".") for number in range(1, 6)))


def test_sequences_of_a_decoupled_model(server: RunningServer, stream: Stream) -> None:
    def step(sequence: int, values: list[int], flags: str = "") -> pb.ModelInferRequest:
        request = grpc_step("decoupled", sequence, values, flags)
        request.inputs[0].shape[:] = [len(values)]
        request.inputs[1].shape[:] = [1]
        request.parameters["triton_enable_empty_final_response"].bool_param = True
        return request

    stream.send(step(1, [1, 2], "+"), step(2, [7], "+."), step(1, [3], "."))
    got: dict[str, list[int]] = defaultdict(list)
    finals = 0
    while finals < 3:
        response = stream.next().infer_response
        if response.parameters["triton_final_response"].bool_param:
            finals += 1
        else:
            got[response.id].append(int(np.frombuffer(response.raw_output_contents[0], np.int32)[0]))
    assert got == {"1+": [1, 2], "2+.": [7], "1.": [1, 2, 3]}
    stream.send(step(1, [1]))
    assert stream.next().error_message == start_text(1, "decoupled")


def test_ordered_answers_do_not_hold_up_the_backlog(stream: Stream, server: RunningServer) -> None:
    # 4 candidates for each of two instances: the ninth sequence waits for a slot, and must not be waited for.
    with Stream(server) as other:
        for number in range(1, 9):
            stream.ask(grpc_step("ordered", number, 1, "+"))
        other.send(grpc_step("ordered", 9, 1, "+."))
        wait_until(lambda: pending(server, "ordered") == 1)
        answers = stream.ask(*(grpc_step("ordered", number, 1, ".") for number in range(1, 9)))
        assert [sums for sums, _ in answers] == [2] * 8
        assert [sums for sums, _ in other.answers(1)] == [1]


# --- many at a time --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", ["direct", "oldest", "direct2", "oldest2"])
def test_many_interleaved_sequences(server: RunningServer, model: str) -> None:
    """24 sequences of random lengths, from 8 clients that each send several ahead: every sum is right, a sequence keeps
    its instance, and in the direct strategy its row; no execution has two steps of one.
    """
    clients = 8

    def work(client: int) -> list[tuple[int, str, dict[str, Any]]]:
        chance = random.Random(f"{model} {client}")  # noqa: S311
        seen: list[tuple[int, str, dict[str, Any]]] = []
        with Stream(server) as stream:
            todo: list[pb.ModelInferRequest] = []
            wanted: list[tuple[int, int]] = []
            lines = []
            for number in range(3):
                sequence, values = (
                    client * 3 + number + 1,
                    [chance.randrange(100) for _ in range(chance.randint(1, 12))],
                )
                line = []
                for position, value in enumerate(values):
                    flags = ("+" if position == 0 else "") + ("." if position == len(values) - 1 else "")
                    line.append(
                        (grpc_step(model, sequence, value, flags), sequence, sum(values[: position + 1]))
                    )
                lines.append(line)
            while any(lines):
                request, sequence, total = chance.choice([line for line in lines if line]).pop(0)
                todo.append(request)
                wanted.append((sequence, total))
            for (sequence, total), (sums, info) in zip(wanted, stream.ask(*todo), strict=True):
                assert sums == total
                seen.append((sequence, info["instance"], info))
        return seen

    with ThreadPoolExecutor(clients) as pool:
        seen = [each for result in pool.map(work, range(clients)) for each in result]
    places = defaultdict(set)
    for sequence, instance, info in seen:
        real = [number for number in info["ids"] if number]
        assert len(set(real)) == len(real)
        assert len(info["ids"]) <= 4
        places[sequence].add((instance, info["row"]) if model.startswith("direct") else instance)
        ready = info["controls"]["READY"]
        assert ready == [number != 0 for number in info["ids"]]
    assert all(len(each) == 1 for each in places.values())
    assert len({instance for _, instance, _ in seen}) == (2 if model.endswith("2") else 1)


@pytest.mark.parametrize("model", ["direct2", "oldest2"])
def test_sequences_spread_over_the_instances(stream: Stream, model: str) -> None:  # 5.2
    answers = stream.ask(*(grpc_step(model, number, 1, "+") for number in (1, 2, 3, 4)))
    assert [info["instance"][-1] for _, info in answers] == ["0", "1", "0", "1"]
    stream.ask(*(grpc_step(model, number, 1, ".") for number in (1, 2, 3, 4)))


def test_rest_clients_with_connections_of_their_own(server: RunningServer) -> None:
    def work(sequence: str) -> list[int]:
        with httpx.Client(timeout=60) as client:
            sums = []
            for flags in ("+", "", "", "."):
                body = rest_step(sequence, 3, flags)
                answer = client.post(f"{server.rest}/v2/models/bare/infer", json=body).json()
                sums.append(answer["outputs"][0]["data"][0])
        return sums

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, map(str, range(1, 7)))) == [[3, 6, 9, 12]] * 6
