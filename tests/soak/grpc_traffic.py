"""Requests over gRPC: good ones, wrong ones, and those that are given up."""

import asyncio
import random
from typing import Any

import grpc
import numpy as np
from grpc import StatusCode, aio

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.soak.ledger import Ledger
from tests.soak.rest_traffic import ENDLESS, bulk, operands, results, values

_SERVICE = "/inference.GRPCInferenceService"
_WAIT_SECONDS = 60

# Longer than any answer takes, and shorter than most: both outcomes occur.
_DEADLINE_SECONDS = (0.0005, 0.02)


def message(model: str, *tensors: tuple[str, str, Any]) -> pb.ModelInferRequest:
    """A request with raw tensors."""
    request = pb.ModelInferRequest(model_name=model)
    for name, datatype, array in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def tagged(model: str, tag: int) -> pb.ModelInferRequest:
    """A request to `tagged` or `moody`."""
    return message(model, ("TAG", "INT64", np.array([[tag]])), ("X", "FP32", values(tag)))


def count(tag: int, number: int) -> pb.ModelInferRequest:
    """A request for the numbers below `number`."""
    return message("count", ("TAG", "INT64", np.array([tag])), ("N", "INT32", np.array([number], np.int32)))


WRONG_REQUESTS: list[tuple[str, bytes, StatusCode]] = [
    ("ModelInfer", message("nosuch").SerializeToString(), StatusCode.NOT_FOUND),
    ("ModelInfer", message("tagged").SerializeToString(), StatusCode.INVALID_ARGUMENT),
    (
        "ModelInfer",
        message("tagged", ("TAG", "INT64", np.array([0]))).SerializeToString(),
        StatusCode.INVALID_ARGUMENT,
    ),
    ("ModelInfer", tagged("tagged", 0).SerializeToString()[:-3], StatusCode.INVALID_ARGUMENT),
    ("NoSuchMethod", b"", StatusCode.UNIMPLEMENTED),
]


class GrpcTraffic:
    """One client. Several share a channel, and so a connection."""

    def __init__(self, address: str, channel: aio.Channel, ledger: Ledger, chance: random.Random) -> None:
        self._address = address
        self._ledger = ledger
        self._chance = chance
        self._channel = channel
        self._infer = unary_of(channel)
        self._stream = stream_of(channel)

    def _check(self, tag: int, answer: pb.ModelInferResponse, model: str) -> None:
        expected = [np.array([[tag]]).tobytes(), (2 * values(tag)).tobytes()]
        right = list(answer.raw_output_contents) == expected
        self._ledger.expect(right, f"gRPC {model} {tag}: {answer}")
        self._ledger.account(model).answered += right

    async def unary(self, tag: int) -> None:
        """ModelInfer; one in four with compression."""
        packed = grpc.Compression.Gzip if tag % 4 == 0 else None
        answer = await self._infer(tagged("tagged", tag), timeout=_WAIT_SECONDS, compression=packed)
        self._check(tag, answer, "tagged")

    async def moody(self, tag: int) -> None:
        """ModelInfer of a model that fails if the tag is odd."""
        try:
            answer = await self._infer(tagged("moody", tag), timeout=_WAIT_SECONDS)
        except aio.AioRpcError as error:
            right = (error.code(), error.details(), tag % 2) == (StatusCode.INVALID_ARGUMENT, "an odd tag", 1)
            self._ledger.expect(right, f"gRPC moody {tag}: {error}")
            self._ledger.account("moody").failed += right
        else:
            self._check(tag, answer, "moody")

    async def wrong(self, tag: int) -> None:
        """A call that is refused."""
        method, content, expected = self._chance.choice(WRONG_REQUESTS)
        try:
            await self._channel.unary_unary(f"{_SERVICE}/{method}")(content, timeout=_WAIT_SECONDS)
            code = StatusCode.OK
        except aio.AioRpcError as error:
            code = error.code()
        self._ledger.expect(code is expected, f"gRPC {method} with {content!r}: {code}, expected {expected}")

    async def deadline(self, tag: int) -> None:
        """A call whose deadline may pass."""
        try:
            answer = await self._infer(
                tagged("tagged", tag), timeout=self._chance.uniform(*_DEADLINE_SECONDS)
            )
        except aio.AioRpcError as error:
            self._ledger.expect(error.code() is StatusCode.DEADLINE_EXCEEDED, f"gRPC deadline {tag}: {error}")
            self._ledger.account("tagged").unsure += 1
        else:
            self._check(tag, answer, "tagged")

    async def cancel(self, tag: int) -> None:
        """A call that is cancelled, some before anything of it is sent, some after its answer."""
        call = self._infer(tagged("tagged", tag), timeout=_WAIT_SECONDS)
        await asyncio.sleep(self._chance.choice((0, self._chance.uniform(0, 0.01))))
        if call.cancel():
            self._ledger.account("tagged").unsure += 1
        else:
            self._check(tag, await call, "tagged")

    async def add(self, tag: int) -> None:
        """A call that the server may execute in place."""
        answer = await self._infer(message("add_sub", *operands(tag)), timeout=_WAIT_SECONDS)
        right = b"".join(answer.raw_output_contents) == results(tag)
        self._ledger.expect(right, f"gRPC add_sub {tag}: {answer}")
        self._ledger.account("add_sub").answered += right

    async def cancel_add(self, tag: int) -> None:
        """Several such calls at once, all of them cancelled before or after their answers."""
        calls = [self._infer(message("add_sub", *operands(tag)), timeout=_WAIT_SECONDS) for _ in range(4)]
        await asyncio.sleep(self._chance.choice((0, self._chance.uniform(0, 0.005))))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        self._ledger.account("add_sub").unsure += len(calls)

    async def bulk(self, tag: int) -> None:
        """A large tensor there and back."""
        array = bulk(tag, self._chance)
        answer = await self._infer(message("bulk", ("X", "FP32", array)), timeout=_WAIT_SECONDS)
        right = answer.raw_output_contents[0] == array.tobytes()
        self._ledger.expect(right, f"gRPC bulk {tag}: {len(answer.raw_output_contents[0])} bytes")
        self._ledger.account("bulk").answered += right

    async def cancel_bulk(self, tag: int) -> None:
        """A large tensor given up on its way there or back, of which the connection's flow control must not lose a byte."""
        request = message("bulk", ("X", "FP32", bulk(tag, self._chance)))
        call = self._infer(request, timeout=_WAIT_SECONDS)
        await asyncio.sleep(self._chance.uniform(0, 0.02))
        if call.cancel():
            self._ledger.account("bulk").unsure += 1
        else:
            await call
            self._ledger.account("bulk").answered += 1

    async def disconnect(self, tag: int) -> None:
        """A connection that is closed with calls under way."""
        async with aio.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            infer = unary_of(channel)
            self._check(tag, await infer(tagged("tagged", tag), timeout=_WAIT_SECONDS), "tagged")
            calls = [infer(tagged("moody", 2 * tag), timeout=_WAIT_SECONDS) for _ in range(3)]
            await asyncio.sleep(self._chance.uniform(0, 0.002))
        self._ledger.account("moody").unsure += len(calls)
        await asyncio.gather(*calls, return_exceptions=True)

    async def stream(self, tag: int) -> None:
        """Several requests on one ModelStreamInfer, whose answers may mingle."""
        numbers = [self._chance.randrange(1, 6) for _ in range(self._chance.randrange(1, 4))]
        tags = [4 * tag + index for index in range(len(numbers))]
        requests = [count(each, number) for each, number in zip(tags, numbers, strict=True)]
        found: dict[int, list[int]] = {each: [] for each in tags}
        async for answer in self._stream(requests, timeout=_WAIT_SECONDS):
            number_tag, number = tag_and_number(answer)
            found[number_tag].append(number)
        right = list(found.values()) == [list(range(number)) for number in numbers]
        self._ledger.expect(right, f"gRPC stream {tag}: {found}, expected {numbers}")
        self._ledger.account("count").answered += len(tags) if right else 0

    async def leave_stream(self, tag: int) -> None:
        """A stream without end that is cancelled after some answers."""
        call = self._stream([count(tag, ENDLESS)], timeout=_WAIT_SECONDS)
        wanted = self._chance.randrange(1, 5)
        async for answer in call:
            self._ledger.expect(tag_and_number(answer)[0] == tag, f"gRPC stream {tag}: {answer}")
            wanted -= 1
            if not wanted:
                break
        call.cancel()
        self._ledger.account("count").left += 1


def unary_of(channel: aio.Channel) -> aio.UnaryUnaryMultiCallable:
    """ModelInfer over a channel."""
    return channel.unary_unary(
        f"{_SERVICE}/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )


def stream_of(channel: aio.Channel) -> aio.StreamStreamMultiCallable:
    """ModelStreamInfer over a channel."""
    return channel.stream_stream(
        f"{_SERVICE}/ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )


def tag_and_number(answer: pb.ModelStreamInferResponse) -> tuple[int, int]:
    """Tag and number of an answer of `count`."""
    tag, number = answer.infer_response.raw_output_contents
    return int.from_bytes(tag, "little"), int.from_bytes(number, "little")
