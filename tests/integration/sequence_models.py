"""Models with sequences, which tell in their answers how they were executed, and the requests to them."""

import json
import queue
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Self

import grpc
import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.integration.grpc_requests import SERVICE, Channel

# Adds up a sequence's numbers, per instance, as users' handlers do: by the id that the request tells. A request with a
# PORT waits there. INFO: what the handler has seen of its batch.
ACCUMULATOR = """
import json
import socket

class Model:
    inputs = {"IN": ("INT32", [-1]), "PORT": ("INT32", [1])}
    outputs = {"SUM": ("INT32", [1]), "INFO": ("BYTES", [1])}
    max_batch_size = 4

    def load(self, context):
        self.instance = context.placement.name
        self.sums = {}
        self.executions = 0

    def __call__(self, inputs, requests):
        self.executions += 1
        controls = {
            name: [value.decode() if isinstance(value, bytes) else value for value in array.ravel().tolist()]
            for name, array in inputs.items() if name not in ("IN", "PORT")
        }
        shapes = sorted({str(list(array.shape)) for name, array in inputs.items() if name not in ("IN", "PORT")})
        sums, infos = [], []
        ids = [request.sequence.id for request in requests]
        for row, request in enumerate(requests):
            step, port = request.sequence, int(inputs["PORT"][row, 0])
            if step.start:
                self.sums[step.id] = 0
            if step.id:
                self.sums[step.id] += int(inputs["IN"][row].sum())
            sums.append([self.sums.get(step.id, 0)])
            infos.append([json.dumps({
                "version": VERSION, "instance": self.instance, "execution": self.executions, "row": row, "ids": ids,
                "flags": [step.start, step.end], "controls": controls, "shapes": shapes,
                "zeros": [not inputs["IN"][n].any() for n in range(len(ids))],
            })])
            if port:
                with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                    gate.recv(1)
        return {"SUM": sums, "INFO": infos}
"""

CONTROLS = """
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
  control_input { name: "END" control { kind: CONTROL_SEQUENCE_END fp32_false_true: [ -1, 0.5 ] } }
  control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY bool_false_true: [ false, true ] } }
"""


def accumulator(version: int = 1) -> str:
    """A handler whose INFO tells its version."""
    return f"VERSION = {version}\n{ACCUMULATOR}"


def corrid(kind: str) -> str:
    """The control that is the sequence's id."""
    return (
        'control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_'
        + kind
        + " } }"
    )


def batching(
    strategy: str = "direct {}", *, instances: int = 1, idle_us: int = 60_000_000, extra: str = CONTROLS
) -> str:
    """A configuration; the idle time is long enough for any machine, unless it is what is tested."""
    return (
        f"instance_group {{ kind: KIND_CPU count: {instances} }} "
        f"sequence_batching {{ {strategy} max_sequence_idle_microseconds: {idle_us} {extra} }}"
    )


def grpc_step(
    model: str,
    sequence: object,
    value: int | list[int],
    flags: str = "",
    port: int = 0,
    version: str = "",
    **control: int,
) -> pb.ModelInferRequest:
    """A step. `flags`: "+" for START, "." for END."""
    values = np.atleast_1d(np.array(value, np.int32))
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=f"{sequence}{flags}")
    request.inputs.add(name="IN", datatype="INT32", shape=[1, len(values)])
    request.inputs.add(name="PORT", datatype="INT32", shape=[1, 1])
    request.raw_input_contents.extend([values.tobytes(), np.array([port], np.int32).tobytes()])
    if isinstance(sequence, str):
        request.parameters["sequence_id"].string_param = sequence
    elif isinstance(sequence, int):
        request.parameters["sequence_id"].int64_param = sequence
    if "+" in flags:
        request.parameters["sequence_start"].bool_param = True
    if "." in flags:
        request.parameters["sequence_end"].bool_param = True
    for name, number in control.items():
        request.parameters[name].int64_param = number
    return request


def rest_step(
    sequence: object, value: int, flags: str = "", port: int = 0, **parameters: object
) -> dict[str, Any]:
    """The body of a step over REST."""
    control: dict[str, object] = {} if sequence is None else {"sequence_id": sequence}
    if "+" in flags:
        control["sequence_start"] = True
    if "." in flags:
        control["sequence_end"] = True
    return {
        "inputs": [
            {"name": "IN", "datatype": "INT32", "shape": [1, 1], "data": [value]},
            {"name": "PORT", "datatype": "INT32", "shape": [1, 1], "data": [port]},
        ],
        "parameters": control | parameters,
    }


def read(response: pb.ModelInferResponse) -> tuple[int, dict[str, Any]]:
    """SUM and INFO."""
    sums, info = response.raw_output_contents
    return int(np.frombuffer(sums, np.int32)[0]), json.loads(info[4:])


class Stream:
    """One ModelStreamInfer: requests are sent in order, and answers to models that answer once come in that order."""

    def __init__(self, server: RunningServer) -> None:
        self._channel = Channel(server)
        self._requests: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
        method = self._channel.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        self._responses: Iterator[pb.ModelStreamInferResponse] = method(
            iter(self._requests.get, None), timeout=60
        )

    def send(self, *requests: pb.ModelInferRequest) -> None:
        """Send requests, without waiting."""
        for request in requests:
            self._requests.put(request)

    def next(self) -> pb.ModelStreamInferResponse:
        """The next answer."""
        return next(self._responses)

    def answers(self, count: int) -> list[tuple[int, dict[str, Any]]]:
        """SUM and INFO of the next answers, none of which is an error."""
        found = []
        for _ in range(count):
            answer = self.next()
            assert answer.error_message == ""
            found.append(read(answer.infer_response))
        return found

    def ask(self, *requests: pb.ModelInferRequest) -> list[tuple[int, dict[str, Any]]]:
        """Send requests and await their answers."""
        self.send(*requests)
        return self.answers(len(requests))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._requests.put(None)
        # What has ended it, if something has, was raised where an answer was waited for.
        with suppress(grpc.RpcError):
            for _ in self._responses:
                pass
        self._channel.__exit__()


def ids(answers: Iterable[tuple[int, dict[str, Any]]]) -> list[list[object]]:
    """The batches that requests were executed in, by the ids of their members."""
    return [info["ids"] for _, info in answers]
