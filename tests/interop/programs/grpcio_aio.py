"""grpcio's asyncio interface: python grpcio_aio.py GRPC_ADDRESS REST_ADDRESS ROOTS; prints results as JSON."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import messages
from grpc import aio

Result = Any


async def unary(channel: aio.Channel) -> Result:
    return messages.values(await _infer(channel)(messages.floats(1.5, -2, 3), timeout=60))


async def many(channel: aio.Channel) -> Result:
    return sum([await unary(channel) == [1.5, -2, 3] for _ in range(200)])


async def error(channel: aio.Channel) -> Result:
    try:
        await _infer(channel)(messages.number("modèle 100%", "N", 1), timeout=60)
    except aio.AioRpcError as caught:
        return [caught.code().name, caught.details()]


async def gzip(channel: aio.Channel) -> Result:
    call = _infer(channel)
    answer = await call(messages.floats(*[7.0] * 1000), timeout=60, compression=grpc.Compression.Gzip)
    return messages.values(answer) == [7.0] * 1000


async def large(channel: aio.Channel) -> Result:
    request = messages.large()
    answer = await _infer(channel)(request, timeout=60)
    return answer.raw_output_contents[0] == request.raw_input_contents[0]


async def stream(channel: aio.Channel) -> Result:
    """Bidirectional: the second request is sent when the first one's answers have come."""
    call = _stream(channel)(timeout=60)
    found = []
    for expected in (3, 2):
        await call.write(messages.number("count", "N", expected))
        found += [messages.integer((await call.read()).infer_response) for _ in range(expected)]
    await call.done_writing()
    return found if await call.read() is aio.EOF else None


async def metadata(channel: aio.Channel) -> Result:
    """The field that asks for a failed execution to end the stream reaches the server; binary ones do no harm."""
    fields = (("triton_grpc_error", "true"), ("more-bin", b"\x00\xff"), ("more", "x" * 4000))
    call = _stream(channel)([messages.number("count", "N", -1)], metadata=fields, timeout=60)
    try:
        [answer async for answer in call]
    except aio.AioRpcError as caught:
        return caught.code().name


async def deadline(channel: aio.Channel) -> Result:
    with messages.gate() as gate:
        try:
            await _infer(channel)(messages.number("held", "PORT", gate.getsockname()[1]), timeout=0.5)
        except aio.AioRpcError as caught:
            gate.accept()[0].close()
            return caught.code().name


async def cancel(channel: aio.Channel) -> Result:
    with messages.gate() as gate:
        call = _infer(channel)(messages.number("held", "PORT", gate.getsockname()[1]), timeout=60)
        connection, _ = await asyncio.to_thread(gate.accept)
        with connection:
            call.cancel()
            return (await call.code()).name


async def cancelled_stream(channel: aio.Channel) -> Result:
    """The model serves one request at a time: the second is answered only if the first has ended."""
    call = _stream(channel)([messages.number("count", "N", 2**31 - 1)], timeout=60)
    first = [messages.integer((await call.read()).infer_response) for _ in range(3)]
    call.cancel()
    return [first, await stream(channel)]


CASES: list[Callable[[aio.Channel], Awaitable[Result]]] = [
    unary, many, error, gzip, large, stream, metadata, deadline, cancel, cancelled_stream
]  # fmt: skip


def _infer(channel: aio.Channel) -> aio.UnaryUnaryMultiCallable:
    return channel.unary_unary(f"{messages.SERVICE}/ModelInfer", **messages.UNARY)


def _stream(channel: aio.Channel) -> aio.StreamStreamMultiCallable:
    return channel.stream_stream(f"{messages.SERVICE}/ModelStreamInfer", **messages.STREAM)


async def main(address: str, roots: bytes | None) -> None:
    credentials = grpc.ssl_channel_credentials(roots) if roots else None
    async with (
        aio.secure_channel(address, credentials, messages.OPTIONS)
        if credentials
        else aio.insecure_channel(address, messages.OPTIONS)
    ) as channel:
        print(json.dumps({case.__name__: await case(channel) for case in CASES}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[3]).read_bytes() if sys.argv[3] else None))
