"""grpcio's blocking interface: python grpcio_sync.py GRPC_ADDRESS REST_ADDRESS ROOTS; prints results as JSON."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import messages

Result = Any


def unary(channel: grpc.Channel) -> Result:
    return messages.values(_infer(channel)(messages.floats(1.5, -2, 3), timeout=60))


def many(channel: grpc.Channel) -> Result:
    return sum(unary(channel) == [1.5, -2, 3] for _ in range(200))


def error(channel: grpc.Channel) -> Result:
    try:
        _infer(channel)(messages.number("modèle 100%", "N", 1), timeout=60)
    except grpc.RpcError as caught:
        return [caught.code().name, caught.details()]


def gzip(channel: grpc.Channel) -> Result:
    call = _infer(channel)
    answer = call(messages.floats(*[7.0] * 1000), timeout=60, compression=grpc.Compression.Gzip)
    return messages.values(answer) == [7.0] * 1000


def large(channel: grpc.Channel) -> Result:
    request = messages.large()
    return _infer(channel)(request, timeout=60).raw_output_contents[0] == request.raw_input_contents[0]


def stream(channel: grpc.Channel) -> Result:
    requests = iter([messages.number("count", "N", 3), messages.number("count", "N", 2)])
    return [messages.integer(each.infer_response) for each in _stream(channel)(requests, timeout=60)]


def metadata(channel: grpc.Channel) -> Result:
    """The field that asks for a failed execution to end the stream reaches the server; binary ones do no harm."""
    fields = (("triton_grpc_error", "true"), ("more-bin", b"\x00\xff"), ("more", "x" * 4000))
    try:
        list(_stream(channel)(iter([messages.number("count", "N", -1)]), metadata=fields, timeout=60))
    except grpc.RpcError as caught:
        return caught.code().name


def deadline(channel: grpc.Channel) -> Result:
    with messages.gate() as gate:
        request = messages.number("held", "PORT", gate.getsockname()[1])
        try:
            _infer(channel)(request, timeout=0.5)
        except grpc.RpcError as caught:
            gate.accept()[0].close()
            return caught.code().name


def cancel(channel: grpc.Channel) -> Result:
    with messages.gate() as gate:
        call = _infer(channel).future(messages.number("held", "PORT", gate.getsockname()[1]), timeout=60)
        with gate.accept()[0]:
            call.cancel()
            return call.code().name


def cancelled_stream(channel: grpc.Channel) -> Result:
    """The model serves one request at a time: the second is answered only if the first has ended."""
    call = _stream(channel)(iter([messages.number("count", "N", 2**31 - 1)]), timeout=60)
    first = [messages.integer(next(call).infer_response) for _ in range(3)]
    call.cancel()
    return [first, stream(channel)]


CASES: list[Callable[[grpc.Channel], Result]] = [
    unary, many, error, gzip, large, stream, metadata, deadline, cancel, cancelled_stream
]  # fmt: skip


def _infer(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(f"{messages.SERVICE}/ModelInfer", **messages.UNARY)


def _stream(channel: grpc.Channel) -> grpc.StreamStreamMultiCallable:
    return channel.stream_stream(f"{messages.SERVICE}/ModelStreamInfer", **messages.STREAM)


def main(address: str, roots: str) -> None:
    credentials = grpc.ssl_channel_credentials(Path(roots).read_bytes()) if roots else None
    with (
        grpc.secure_channel(address, credentials, messages.OPTIONS)
        if credentials
        else grpc.insecure_channel(address, messages.OPTIONS)
    ) as channel:
        print(json.dumps({case.__name__: case(channel) for case in CASES}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3])
