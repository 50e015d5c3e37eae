"""Streams of requests to models that answer once: the answers are ModelInfer's, in the order of the requests."""

import queue
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.conftest import ExplicitServer
from tests.integration.grpc_requests import SERVICE, Channel, request_of
from tests.integration.handlers import identity
from tests.integration.support import Gate, executed_tags, new_tag, pending, wait_until

FINAL = "triton_final_response"
RNG = np.random.default_rng(3)

# Yields the same memory each time, with other numbers in it.
IN_PLACE = """
import numpy as np
class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [-1])}
    def __call__(self, inputs):
        out = np.zeros(200_000, np.int32)
        for _ in range(int(inputs["N"][0])):
            yield {"OUT": out}
            out += 1
"""


@pytest.fixture(scope="module")
def streamed(
    start_server: StartServer,
    write_model: WriteModel,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunningServer:
    """A server with the usual models, and one of its own."""
    root = tmp_path_factory.mktemp("infer_streams")
    write_model(root, "in_place", IN_PLACE)
    return start_server(repository, f"--model-repository={root}")


class Stream:
    """One stream; requests are sent as bytes."""

    def __init__(self, server: RunningServer, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._channel = Channel(server)
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        method = self._channel.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        self.answers: Any = method(iter(self._requests.get, None), metadata=metadata, timeout=60)

    def send(self, *requests: pb.ModelInferRequest) -> None:
        """Send requests."""
        for request in requests:
            self._requests.put(request.SerializeToString())

    def send_bytes(self, data: bytes) -> None:
        """Send what need not be one."""
        self._requests.put(data)

    def end(self) -> list[pb.ModelStreamInferResponse]:
        """Send no more; all answers that are still to come."""
        self._requests.put(None)
        return list(self.answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.answers.cancel()
        self._requests.put(None)
        self._channel.__exit__()


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str) -> pb.ModelInferRequest.InferInputTensor:
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=array.shape)


def floats(model: str, array: np.ndarray[Any, Any], **fields: Any) -> pb.ModelInferRequest:
    return request_of(model, tensor("IN", array, "FP32"), raw=[array.tobytes()], **fields)


def gated(tag: int, port: int = 0) -> pb.ModelInferRequest:
    values = {"PORT": np.array([[port]], np.int32), "TAG": np.array([[tag]], np.int64)}
    tensors = [tensor(name, array, f"INT{array.itemsize * 8}") for name, array in values.items()]
    return request_of("gated", *tensors, raw=[array.tobytes() for array in values.values()])


def failing(command: str = "raise", **fields: Any) -> pb.ModelInferRequest:
    """A request whose execution fails."""
    text = tensor("COMMAND", np.array([[command]], np.object_), "BYTES")
    return request_of("failing", text, raw=[struct.pack("<I", len(command)) + command.encode()], **fields)


def asked(server: RunningServer, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
    """What a stream has to answer, by what ModelInfer answers."""
    expected = pb.ModelStreamInferResponse()
    with Channel(server) as channel:
        try:
            expected.infer_response.CopyFrom(channel.infer(request))
            expected.infer_response.parameters[FINAL].bool_param = True
        except grpc.RpcError as error:
            expected.error_message = error.details()
            expected.infer_response.id = request.id
    return expected


def requests() -> Iterator[pb.ModelInferRequest]:
    """All kinds, most of them more than once."""
    for number in range(5):
        yield floats("id_fp32", RNG.random(7, np.float32), id=f"number {number}")
        yield floats("bat", RNG.random((1, 3), np.float32))
        yield floats("id_fp32", RNG.random(300_000, np.float32), id="large")
        yield floats("nosuch", np.zeros(1, np.float32), id="refused")
        yield floats("bat", RNG.random((1, 4), np.float32), id="of another shape")
        yield floats("bat", RNG.random((2, 3), np.float32))
        text = np.array([b"text"], np.object_)
        yield request_of("id_bytes", tensor("IN", text, "BYTES"), raw=[b"\4\0\0\0text"], id=str(number))


def test_each_gets_the_answer_of_model_infer(streamed: RunningServer) -> None:
    sent = list(requests())
    with Stream(streamed) as stream:
        stream.send(*sent)
        answers = stream.end()
    assert answers == [asked(streamed, request) for request in sent]


def test_one_after_the_other(streamed: RunningServer) -> None:
    with Stream(streamed) as stream:
        for request in requests():
            stream.send(request)
            assert next(stream.answers) == asked(streamed, request)
        assert stream.end() == []


def test_all_wait_for_the_first(streamed: RunningServer) -> None:
    """Answers, errors of the model and refusals."""
    with Gate() as gate, Stream(streamed) as stream:
        stream.send(gated(new_tag(), gate.port))
        later = [*requests(), failing(id="fails")]
        stream.send(*later)
        gate.await_start()
        # All of them can be answered meanwhile.
        expected = [asked(streamed, request) for request in later]
        gate.open()
        got = stream.end()
    assert got[0].infer_response.model_name == "gated"
    assert [each.infer_response.id for each in got[1:]] == [request.id for request in later]
    assert got[1:-1] == expected[:-1]
    assert got[-1].error_message == expected[-1].error_message
    assert got[-1].infer_response.parameters[FINAL].bool_param is True


def test_more_than_may_be_under_way(streamed: RunningServer) -> None:
    with Gate() as gate, Stream(streamed) as stream:
        stream.send(gated(new_tag(), gate.port))
        stream.send(*(floats("id_fp32", np.array([n], np.float32), id=str(n)) for n in range(2500)))
        gate.await_start()
        gate.open()
        answers = stream.end()
    assert [each.infer_response.id for each in answers[1:]] == [str(n) for n in range(2500)]
    assert [each.infer_response.raw_output_contents[0] for each in answers[1:]] == [
        np.float32(n).tobytes() for n in range(2500)
    ]


def test_no_more_are_read_than_may_be_under_way(streamed: RunningServer) -> None:
    tags = [new_tag() for _ in range(1500)]
    with Gate() as gate, Stream(streamed) as stream:
        stream.send(gated(tags[0], gate.port), *map(gated, tags[1:]))
        gate.await_start()
        wait_until(lambda: pending(streamed, "gated") == 1023)
        gate.open()
        assert len(stream.end()) == 1500
    assert executed_tags(streamed, "gated")[-1501:-1] == tags


def test_a_message_that_is_no_request_ends_the_stream_after_those_before_it(streamed: RunningServer) -> None:
    request = floats("id_fp32", np.ones(3, np.float32))
    with Gate() as gate, Stream(streamed) as stream:
        stream.send(gated(new_tag(), gate.port), request)
        stream.send_bytes(b"\xff")
        stream.send(request)
        gate.await_start()
        gate.open()
        assert next(stream.answers).infer_response.model_name == "gated"
        assert next(stream.answers) == asked(streamed, request)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream.answers)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the message is not a serialized inference.ModelInferRequest"


def test_what_waits_is_not_executed_for_a_client_that_has_left(streamed: RunningServer) -> None:
    running, waiting, later = new_tag(), new_tag(), new_tag()
    with Gate() as gate, Gate() as own:
        with Stream(streamed) as stream:
            stream.send(gated(running, gate.port))
            gate.await_start()
            stream.send(gated(waiting, own.port), *requests())
            wait_until(lambda: pending(streamed, "gated") == 1)
        wait_until(lambda: pending(streamed, "gated") == 0)
        gate.open()
        with Stream(streamed) as stream:
            stream.send(gated(later))
            assert len(stream.end()) == 1
    tags = executed_tags(streamed, "gated")
    assert later in tags
    assert waiting not in tags


@pytest.mark.parametrize("command", ["raise", "surrogate"])
def test_a_failed_execution_ends_the_stream_for_those_who_ask(streamed: RunningServer, command: str) -> None:
    fine = floats("id_fp32", np.ones(3, np.float32))
    with Stream(streamed, (("triton_grpc_error", "true"),)) as stream:
        stream.send(fine, floats("nosuch", np.zeros(1, np.float32)), failing(command, id="failed"), fine)
        assert next(stream.answers) == asked(streamed, fine)
        assert "unknown model" in next(stream.answers).error_message
        with pytest.raises(grpc.RpcError) as caught:
            next(stream.answers)
    assert caught.value.details() == asked(streamed, failing(command, id="failed")).error_message


def test_a_refusal_by_a_decoupled_model_waits_for_nobody(streamed: RunningServer) -> None:
    wrong = request_of("in_place", tensor("N", np.zeros(1), "NOPE"), raw=[bytes(4)], id="not decoded")
    misfit = request_of("in_place", tensor("M", np.zeros(1), "INT32"), raw=[bytes(4)], id="not accepted")
    with Gate() as gate, Stream(streamed) as stream:
        stream.send(gated(new_tag(), gate.port), wrong, misfit)
        gate.await_start()
        assert [next(stream.answers).infer_response.id for _ in range(2)] == ["not decoded", "not accepted"]
        gate.open()
        assert [each.error_message for each in stream.end()] == [""]


def test_a_decoupled_model_may_use_its_memory_again(streamed: RunningServer) -> None:
    with Stream(streamed) as stream:
        stream.send(request_of("in_place", tensor("N", np.zeros(1), "INT32"), raw=[np.int32(20).tobytes()]))
        answers = stream.end()
    got = [np.frombuffer(each.infer_response.raw_output_contents[0], np.int32) for each in answers]
    assert [(set(array.tolist()), array.size) for array in got] == [({n}, 200_000) for n in range(20)]


def test_a_model_that_is_loaded_anew_is_asked_anew(explicit: ExplicitServer) -> None:
    """Also by a request like those before it."""
    request = floats("changing", np.ones((1, 3), np.float32))
    explicit.write("changing", identity("FP32", [3], max_batch_size=4))
    explicit.load("changing")
    with Stream(explicit.server) as stream:
        for _ in range(3):
            stream.send(request)
            assert next(stream.answers).error_message == ""
        explicit.unload("changing")
        stream.send(request)
        assert next(stream.answers).error_message == asked(explicit.server, request).error_message != ""
        explicit.write("changing", identity("FP32", [4], max_batch_size=4))
        explicit.load("changing")
        stream.send(request)
        assert next(stream.answers).error_message == asked(explicit.server, request).error_message != ""
        explicit.write("changing", identity("FP32", [3], max_batch_size=4))
        explicit.load("changing")
        stream.send(request)
        assert next(stream.answers) == asked(explicit.server, request)
