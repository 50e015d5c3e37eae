"""Compressed messages: unpacked in slices if they are large, and received in their turn."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, ServingError
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.transport.unpacking import Packed, Unpacking
from kserve_v2.scheduling.slices import Slicer
from tests.rpc.serving import serving

MIB = 1024 * 1024
MAX_SLICE_BYTES = 256 * 1024
COMPRESSED = {b"gzip": gzip.compress, b"deflate": zlib.compress}


def half_random(size: int, seed: int = 1) -> bytes:
    """What becomes smaller, but not much."""
    return np.random.default_rng(seed).integers(0, 16, size, np.uint8).tobytes()


class Owner:
    """Of one call."""

    def __init__(self, most: int = 100 * MIB) -> None:
        self.slicer = Slicer()
        self.held = 0
        self._most = most

    def buffer(self, size: int) -> None:
        self.held += size

    def check_buffered(self) -> None:
        if self.held > self._most:
            raise ResourceExhaustedError("too much")


@pytest.mark.parametrize("encoding", COMPRESSED)
@pytest.mark.parametrize("message", [b"", b"a", bytes(MAX_SLICE_BYTES), bytes(3 * MIB), half_random(MIB)])
def test_slices_are_short(encoding: bytes, message: bytes) -> None:
    packed = Packed(COMPRESSED[encoding](message), encoding, len(message))
    made: list[int] = []
    slices = packed.in_slices(made.append)
    # Each part is read in one, and put into its place in another.
    assert sum(1 for _ in slices) == (2 * len(made) if len(made) > 1 else 1)
    assert sum(made) == len(message)
    assert max(made) <= MAX_SLICE_BYTES
    whole = packed.unpack()
    assert whole == message
    if isinstance(whole, memoryview):
        assert (np.frombuffer(whole, np.uint8).ctypes.data + len(whole)) % 64 == 0
    assert packed.small == (len(message) <= MAX_SLICE_BYTES)


@pytest.mark.parametrize("encoding", COMPRESSED)
@pytest.mark.parametrize("cut", [1, 9, 100_000])
def test_a_large_message_that_is_cut_off(encoding: bytes, cut: int) -> None:
    with pytest.raises(InvalidArgumentError, match="is cut off"):
        Packed(COMPRESSED[encoding](half_random(MIB))[:-cut], encoding, 2 * MIB).unpack()


def test_a_message_that_is_too_large_by_one_byte() -> None:
    packed = gzip.compress(bytes(MIB))
    assert len(Packed(packed, b"gzip", MIB).unpack()) == MIB
    with pytest.raises(ResourceExhaustedError, match=f"larger than max \\({MIB} vs. {MIB - 1}\\)"):
        Packed(packed, b"gzip", MIB - 1).unpack()


def unpacked(
    messages: list[Serialized | Packed], owner: Owner, receive: Callable[[Serialized], None]
) -> Exception | None:
    """Have the messages received. Returns what was wrong with one."""

    async def run() -> Exception | None:
        over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        unpacking = Unpacking(owner, receive, over.set_result)
        for message in messages:
            unpacking.add(message)
        return await over

    return asyncio.run(run())


LARGE = half_random(MIB)
PACKED = Packed(gzip.compress(LARGE), b"gzip", 10 * MIB)


def test_messages_are_received_in_their_order() -> None:
    owner, received = Owner(), list[Serialized]()
    assert unpacked([PACKED, b"a", b"b", PACKED, b"c"], owner, received.append) is None
    assert received == [LARGE, b"a", b"b", LARGE, b"c"]
    assert owner.held == 0


def test_none_is_received_behind_one_that_is_wrong() -> None:
    owner, received = Owner(), list[Serialized]()
    wrong = Packed(PACKED.data[:-9], b"gzip", 10 * MIB)
    error = unpacked([PACKED, wrong, b"a"], owner, received.append)
    assert isinstance(error, InvalidArgumentError)
    assert received == [LARGE]
    assert owner.held == 0


@pytest.mark.parametrize("error", [ServingError("no"), ValueError("a defect")])
def test_who_receives_refuses(error: Exception) -> None:
    def receive(message: Serialized) -> None:
        raise error

    owner = Owner()
    assert unpacked([PACKED, b"a"], owner, receive) is error
    assert owner.held == 0


def test_what_is_unpacked_counts() -> None:
    owner = Owner(most=len(PACKED.data) + MIB // 2)
    assert isinstance(unpacked([PACKED], owner, lambda _: None), ResourceExhaustedError)
    assert owner.held == 0


def test_nobody_wants_them_any_more() -> None:
    async def run() -> None:
        unpacking = Unpacking(owner, received.append, lambda _: received.append(b"over"))
        unpacking.add(PACKED)
        unpacking.add(b"a")
        assert owner.held > len(PACKED.data)
        unpacking.give_up()
        await owner.slicer.idle()

    owner, received = Owner(), list[Serialized]()
    asyncio.run(run())
    assert received == []
    assert owner.held == 0


# --- over real sockets --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with (
        serving(max_request_bytes=8 * MIB) as served,
        grpc.insecure_channel(served.address, options=options) as made,
    ):
        yield made


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_one_message(channel: grpc.Channel, algorithm: grpc.Compression) -> None:
    for sent in (half_random(3 * MIB), bytes(8 * MIB)):
        assert channel.unary_unary("/test/Direct")(sent, compression=algorithm, timeout=60) == sent


def test_a_stream_of_large_and_small_ones(channel: grpc.Channel) -> None:
    """Those that do not become smaller are not compressed."""
    sizes = [5, MIB, 7, 300_000, 2 * MIB, 0, 11]
    values = [half_random(size, seed) for seed, size in enumerate(sizes)]
    values[3] = np.random.default_rng(3).bytes(sizes[3])
    sent = [b"\x0a" + _varint(len(value)) + value if value else b"" for value in values]
    answers = channel.stream_stream("/test/Stream")(iter(sent), compression=grpc.Compression.Gzip, timeout=60)
    assert list(answers) == sent


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def test_one_that_comes_to_too_much(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/test/Direct")
    with pytest.raises(grpc.RpcError) as failed:
        call(bytes(8 * MIB + 1), compression=grpc.Compression.Gzip, timeout=60)
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert call(b"well", timeout=60) == b"well"
