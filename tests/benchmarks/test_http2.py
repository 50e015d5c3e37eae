"""The benchmarks' own HTTP/2: frames as they pass by, and the yardstick over gRPC, by a real client."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import hpack
import pytest

from benchmarks.cases.add_sub import ROW_SHAPE, grpc_add_sub, rest_add_sub
from benchmarks.load import http2
from benchmarks.load.builtin import Builtin
from benchmarks.load.exchange import GrpcExchange, VariedGrpc
from benchmarks.load.http2 import Frame, Skimmer, frame
from benchmarks.load.open_loop import run_open_loop
from benchmarks.processes import Child, child

ADD_SUB = Path(__file__).parents[2] / "model_repository" / "add_sub" / "1" / "model.onnx"


@pytest.mark.parametrize("step", [1, 2, 9, 10, 1000])
def test_frames_come_without_data_however_the_bytes_are_cut(step: int) -> None:
    wire = frame(http2.SETTINGS, 0, 0, b"abcdef") + frame(http2.DATA, 0, 1, b"x" * 30)
    wire += frame(http2.DATA, http2.END_STREAM, 1) + frame(http2.PING, 0, 0, b"12345678")
    skimmer = Skimmer()
    seen = [one for start in range(0, len(wire), step) for one in skimmer.feed(wire[start : start + step])]
    assert seen == [
        Frame(http2.SETTINGS, 0, 0, b"abcdef"),
        Frame(http2.DATA, 0, 1, b""),
        Frame(http2.DATA, http2.END_STREAM, 1, b""),
        Frame(http2.PING, 0, 0, b"12345678"),
    ]
    assert skimmer.data_bytes == 30


def test_what_is_encoded_is_what_another_decoder_reads() -> None:
    """Fields that come again, and others that drive them out of the table."""
    encoder, decoder = http2.Encoder(), hpack.Decoder()
    usual = [
        (http2.PATH, b":path", b"/a"),
        (http2.CONTENT_TYPE, b"content-type", b"b"),
        (b"te", b"te", b"trailers"),
    ]
    for number in range(200):
        own = [(b"own", b"own", b"%d" % number * (number % 120)), *usual[number % 3 :]]
        block = encoder.fields((name, value) for name, _, value in [*usual, *own])
        secret = http2.literal(b"secret", bytes(number), never=True)
        found = [tuple(field) for field in decoder.decode(block + secret, raw=True)]
        assert found == [*((name, value) for _, name, value in [*usual, *own]), (b"secret", bytes(number))]
    assert len(decoder.header_table.dynamic_entries) == len(encoder._table)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Child]]:
    log = tmp_path_factory.mktemp("yardsticks")
    with (
        child(["benchmarks.yardsticks.bare_http", str(ADD_SUB)], {"REST"}, log / "http.log") as http,
        child(["benchmarks.yardsticks.bare_grpc", str(ADD_SUB)], {"gRPC"}, log / "grpc.log") as grpc,
    ):
        yield {"REST": http, "gRPC": grpc}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_bare_protocol_answers_rightly_in_closed_and_open_loops(
    bare: dict[str, Child], protocol: str
) -> None:
    url = bare[protocol].urls[protocol]
    # These compare the first answer with the right numbers, and the loops all others with the first.
    exchange = (rest_add_sub if protocol == "REST" else grpc_add_sub)(url, "add_sub", ROW_SHAPE)
    assert Builtin().run(exchange, 4, seconds=1).requests > 0
    if isinstance(exchange, GrpcExchange):
        for kind, never in (("traced", False), ("tokens", True)):
            assert Builtin().run(VariedGrpc(**asdict(exchange), kind=kind, never=never), 4, 1).requests > 0
    assert run_open_loop(exchange, 4, seconds=1, per_second=50).requests == 50
