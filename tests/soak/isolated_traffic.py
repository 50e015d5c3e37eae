"""Requests to models whose processes may die at any time: each has one outcome, and it is its own."""

import asyncio
import json
import random
from typing import Any

import numpy as np
from grpc import StatusCode, aio

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.soak.http1 import Connection, post
from tests.soak.isolated_models import UNARY
from tests.soak.ledger import Ledger

_SERVICE = "/inference.GRPCInferenceService"

# Far longer than any restart takes: who waits so long has been forgotten.
WAIT_SECONDS = 120

# What a client may be told while a model's process dies or is started again, or its model is loaded again.
EXCUSES = (
    "the process of model",
    "is not at ready state",
    "is not found",
    "unloading",
    "has no available versions",
)

_SIZES = (4, 4, 4, 100, 1500, 3000, 20_000, 200_000)

Array = np.ndarray[Any, Any]


def values(tag: int, size: int) -> Array:
    """What the request with this tag sends: no other one has any of its numbers at the same place."""
    return (1_000_000.0 * tag + np.arange(size))[None]


def tensors(model: str, tag: int, x: Array) -> list[tuple[str, str, Array]]:
    """The inputs of a request."""
    name = "tag" if model == "onnx" else "TAG"
    return [(name, "INT64", np.array([[tag]])), ("X", "FP64", x)]


def counting(tag: int, number: int) -> list[tuple[str, str, Array]]:
    """The inputs of a request for so many responses."""
    return [
        ("TAG", "INT64", np.array([tag])),
        ("N", "INT32", np.array([number], np.int32)),
        ("X", "FP64", values(tag, 4)[0]),
    ]


def rest_request(model: str, tag: int, inputs: list[tuple[str, str, Array]]) -> bytes:
    """A binary request."""
    head = json.dumps({
        "id": str(tag),
        "inputs": [
            {"name": name, "datatype": datatype, "shape": list(array.shape),
             "parameters": {"binary_data_size": array.nbytes}}
            for name, datatype, array in inputs
        ],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    headers = {"Inference-Header-Content-Length": str(len(head))}
    body = head + b"".join(array.tobytes() for *_, array in inputs)
    return post(f"/v2/models/{model}/infer", body, headers)


def grpc_request(model: str, tag: int, inputs: list[tuple[str, str, Array]]) -> pb.ModelInferRequest:
    """A request with raw tensors."""
    request = pb.ModelInferRequest(model_name=model, id=str(tag))
    for name, datatype, array in inputs:
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


class IsolatedTraffic:
    """One client."""

    def __init__(
        self, rest: str, grpc: str, channel: aio.Channel, ledger: Ledger, chance: random.Random
    ) -> None:
        self._rest, self._grpc = rest, grpc
        self._ledger = ledger
        self._chance = chance
        self._kept: Connection | None = None
        self._infer = _unary(channel)
        self._stream = channel.stream_stream(
            f"{_SERVICE}/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )

    async def close(self) -> None:
        """Close what was kept."""
        if self._kept is not None:
            await self._kept.close()

    def _any(self) -> tuple[str, int]:
        return self._chance.choice(UNARY), self._chance.choice(_SIZES)

    def _excused(self, what: str, right: bool, text: str) -> None:
        self._ledger.kinds["excused"] += 1
        self._ledger.expect(right and any(each in text for each in EXCUSES), f"{what}: {text}")

    async def rest(self, tag: int) -> None:
        """A request on a connection that is kept."""
        model, size = self._any()
        await self._ask(model, tag, size)

    async def free(self, tag: int) -> None:
        """A model that nobody disturbs always answers."""
        await self._ask("free", tag, 4, excuses=False)

    async def _ask(self, model: str, tag: int, size: int, *, excuses: bool = True) -> None:
        x = values(tag, size)
        if self._kept is None:
            self._kept = await Connection.open(self._rest)
        await self._kept.send(rest_request(model, tag, tensors(model, tag, x)))
        status, headers, body = await self._kept.answer()
        length = int(headers.get("inference-header-content-length", 0))
        if status != 200:
            if excuses:
                self._excused(f"REST {model} {tag}", status in (400, 404, 503), f"{status} {body[:300]!r}")
            else:
                self._ledger.expect(False, f"REST {model} {tag}: {status} {body[:300]!r}")
            return
        head = json.loads(body[:length])
        right = body[length:] == np.array([[tag]]).tobytes() + (2 * x).tobytes() and head["id"] == str(tag)
        if model == "batches":
            right = right and head["parameters"]["id"] == str(tag)
        self._ledger.expect(right, f"REST {model} {tag}: {head}")

    async def grpc(self, tag: int) -> None:
        """A call."""
        model, size = self._any()
        await self._call(model, tag, size, WAIT_SECONDS)

    async def deadline(self, tag: int) -> None:
        """A call whose deadline may pass."""
        model, size = self._any()
        await self._call(model, tag, size, self._chance.uniform(0.0005, 0.03))

    async def _call(self, model: str, tag: int, size: int, seconds: float) -> None:
        x = values(tag, size)
        try:
            answer = await self._infer(grpc_request(model, tag, tensors(model, tag, x)), timeout=seconds)
        except aio.AioRpcError as error:
            if error.code() is StatusCode.DEADLINE_EXCEEDED and seconds < WAIT_SECONDS:
                return
            right = error.code() in (StatusCode.UNAVAILABLE, StatusCode.NOT_FOUND)
            self._excused(f"gRPC {model} {tag}", right, f"{error.code()} {error.details()}")
        else:
            found = list(answer.raw_output_contents)
            right = found == [np.array([[tag]]).tobytes(), (2 * x).tobytes()] and answer.id == str(tag)
            if model == "batches":
                right = right and answer.parameters["id"].string_param == str(tag)
            self._ledger.expect(
                right, f"gRPC {model} {tag}: {answer.outputs} {[len(each) for each in found]}"
            )

    async def cancel(self, tag: int) -> None:
        """Calls that are cancelled, some before anything of them is sent."""
        model, size = self._any()
        request = grpc_request(model, tag, tensors(model, tag, values(tag, size)))
        calls = [self._infer(request, timeout=WAIT_SECONDS) for _ in range(3)]
        await asyncio.sleep(self._chance.choice((0, self._chance.uniform(0, 0.01))))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def leave(self, tag: int) -> None:
        """A request whose answer is not waited for."""
        model, size = self._any()
        connection = await Connection.open(self._rest)
        await connection.send(rest_request(model, tag, tensors(model, tag, values(tag, size))))
        await asyncio.sleep(self._chance.choice((0, self._chance.uniform(0, 0.01))))
        await (connection.close if self._chance.random() < 0.5 else connection.abort)()

    async def disconnect(self, tag: int) -> None:
        """A connection that is closed with calls under way."""
        model, size = self._any()
        request = grpc_request(model, tag, tensors(model, tag, values(tag, size)))
        async with aio.insecure_channel(self._grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            calls = [_unary(channel)(request, timeout=WAIT_SECONDS) for _ in range(3)]
            await asyncio.sleep(self._chance.uniform(0, 0.01))
        await asyncio.gather(*calls, return_exceptions=True)

    async def stream(self, tag: int) -> None:
        """Several requests on one stream. One that fails says so last."""
        model = self._chance.choice(("count", "async_count"))
        numbers = {50_000_000 + 4 * tag + each: self._chance.randrange(0, 12) for each in range(3)}
        requests = [grpc_request(model, each, counting(each, number)) for each, number in numbers.items()]
        found: dict[int, list[int]] = {each: [] for each in numbers}
        failed: dict[int, str] = {}
        async for answer in self._stream(requests, timeout=WAIT_SECONDS):
            whose = int(answer.infer_response.id or -1)
            if answer.error_message:
                failed[whose] = answer.error_message
                continue
            got, number, y = answer.infer_response.raw_output_contents
            right = got == np.array([whose]).tobytes() and y == (2 * values(whose, 4)[0]).tobytes()
            self._ledger.expect(right, f"stream {whose}: {answer}")
            found[whose].append(int.from_bytes(number, "little"))
        for whose, text in failed.items():
            self._excused(f"stream {model} {whose}", True, text)
        for whose, number in numbers.items():
            got_all = found[whose] == list(range(number)) or (
                whose in failed and found[whose] == list(range(len(found[whose])))
            )
            self._ledger.expect(got_all, f"stream {whose}: {found[whose]} of {number}; {failed}")

    async def leave_stream(self, tag: int) -> None:
        """A stream without end that is cancelled after some answers."""
        model = self._chance.choice(("count", "async_count"))
        call = self._stream([grpc_request(model, tag, counting(tag, 2**31 - 1))], timeout=WAIT_SECONDS)
        wanted = self._chance.randrange(1, 8)
        async for answer in call:
            if answer.error_message:
                self._excused(f"stream {model} {tag}", True, answer.error_message)
                break
            got = answer.infer_response.raw_output_contents[0]
            self._ledger.expect(got == np.array([tag]).tobytes(), f"stream {tag}: {answer}")
            wanted -= 1
            if not wanted:
                break
        call.cancel()


def _unary(channel: aio.Channel) -> aio.UnaryUnaryMultiCallable:
    return channel.unary_unary(
        f"{_SERVICE}/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
