"""Load for ModelStreamInfer: a closed loop of requests on one stream, by grpc.aio in a process of its own.

`python -m benchmarks.load.streaming` reads its job as JSON from standard input and prints what it saw as JSON.
"""

import json
import sys
import time
from array import array
from collections import deque
from typing import Any

import grpc
import uvloop

from benchmarks.load.builtin import Builtin, from_json, summary
from benchmarks.load.exchange import GrpcExchange, LoadError
from kserve_v2._generated import grpc_service_pb2 as pb

STREAM_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"


class Streaming(Builtin):
    """Runs this module as a process. What are connections to other generators are requests under way on the stream."""

    name = "grpc.aio stream"
    module = __name__


async def load(exchange: GrpcExchange, under_way: int, seconds: float) -> dict[str, object]:
    """Run the closed loop; what it saw. Answers come in the order of their requests, and all have to be the same."""
    latencies_ns, sent_ns = array("q"), deque[int]()
    async with grpc.aio.insecure_channel(exchange.target) as channel:
        # The stubs want requests; without them they are written one by one.
        method: Any = channel.stream_stream(
            STREAM_METHOD, request_serializer=bytes, response_deserializer=bytes
        )
        stream = method()

        async def send() -> None:
            sent_ns.append(time.perf_counter_ns())
            await stream.write(exchange.message)

        start_ns = time.perf_counter_ns()
        for _ in range(under_way):
            await send()
        right = b""
        while (now_ns := time.perf_counter_ns()) < start_ns + seconds * 1e9:
            answer = await stream.read()
            latencies_ns.append(time.perf_counter_ns() - sent_ns.popleft())
            right = right or _checked(answer, exchange)
            if answer != right:
                return summary(latencies_ns, "an answer was wrong")
            await send()
        stream.cancel()
    return {"seconds": (now_ns - start_ns) / 1e9, **summary(latencies_ns, "")}


def _checked(answer: bytes, exchange: GrpcExchange) -> bytes:
    """The first answer, if it holds what ModelInfer answers. Raises LoadError."""
    got = pb.ModelStreamInferResponse.FromString(answer).infer_response.raw_output_contents
    if got != pb.ModelInferResponse.FromString(exchange.answer).raw_output_contents:
        raise LoadError("an answer was wrong")
    return answer


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    exchange = from_json(job["exchange"])
    assert isinstance(exchange, GrpcExchange)  # noqa: S101 - as `Streaming` has sent it
    print(json.dumps(uvloop.run(load(exchange, job["connections"], job["seconds"]))))


if __name__ == "__main__":
    main()
