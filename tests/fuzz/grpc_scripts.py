"""Scripts for several connections of gRPC: calls that are made again and again, and calls that are nearly the same, on
the wire, but for what decides what they mean.

Every script is made from its number alone.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import hpack
import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb

Step = tuple[int, bytes]
"""A connection, and what is sent on it in one go."""

_CONNECTIONS = 3
_HEADERS, _DATA, _WINDOW_UPDATE, _CONTINUATION = 1, 0, 8, 9
_END_STREAM, _END_HEADERS = 1, 4

Fields = list[tuple[int, bytes]]
"""A message as fields of bytes, in the order of the wire."""


class Asked(NamedTuple):
    """What was asked on a stream."""

    method: str
    message: bytes


@dataclass
class Script:
    """What is sent, and what was asked, by connection and stream."""

    steps: list[Step] = field(default_factory=list)
    asked: dict[tuple[int, int], Asked] = field(default_factory=dict)


# The last one takes any message for a question without members.
_METHODS = [*["ModelInfer"] * 8, "ModelStreamInfer", "ServerLive"]


TYPED: dict[str, tuple[int, int, int]] = {
    "BOOL": (1, 0, 1),
    "INT8": (2, -(2**7), 2**7 - 1),
    "INT16": (2, -(2**15), 2**15 - 1),
    "INT64": (3, -(2**63), 2**63 - 1),
    "UINT8": (4, 0, 2**8 - 1),
    "UINT16": (4, 0, 2**16 - 1),
    "UINT32": (4, 0, 2**32 - 1),
    "UINT64": (5, 0, 2**64 - 1),
    "FP64": (7, -999, 999),
}
"""By datatype, for models of one input, which have its name in lower case: the field of typed contents, and the least
and the largest number that is sent.
"""

_INT32, _FP32 = (2, -(2**31), 2**31 - 1), (6, -999, 999)
_FLOATS = {6: "<f", 7: "<d"}

# --- messages -----------------------------------------------------------------------------------------------------


def varint(number: int, size: int = 1) -> bytes:
    """A number in protobuf's encoding, in `size` bytes or as many as it takes; more than needed is allowed."""
    found = b""
    while number >= 0x80 or len(found) + 1 < size:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def serialized(rng: random.Random, fields: Fields) -> bytes:
    """The message. Now and then lengths take a byte more than they need."""
    longer = rng.random() < 0.05
    return b"".join(
        varint(number << 3 | 2) + varint(len(value), 1 + longer) + value for number, value in fields
    )


def message(rng: random.Random, values: random.Random) -> Fields:
    """A request with raw or typed contents; what `rng` decides is the same for all calls of one kind."""
    model, names, datatype, columns = rng.choice(
        [("now", ["IN"], "FP32", 3), ("two", ["A", "B"], "INT32", 2)] * 3
        + [(each.lower(), ["IN"], each, 3) for each in TYPED]
    )
    rows = rng.randint(1, 2)
    fields: Fields = [(1, model.encode())]
    if rng.random() < 0.3:
        fields.append((2, b"1"))
    if rng.random() < 0.7:
        fields.append((3, b"r%d" % values.randrange(10_000)))
    typed = datatype in TYPED or rng.random() < 0.3
    for name in names:
        tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=[rows, columns])
        described = tensor.SerializeToString()
        if typed:
            found = contents(values, datatype, rows * columns)
            described += varint(5 << 3 | 2) + varint(len(found)) + found
        fields.append((5, described))
    if rng.random() < 0.2:
        output = pb.ModelInferRequest.InferRequestedOutputTensor(name="OUT" if model == "now" else "X")
        fields.append((6, output.SerializeToString()))
    dtype = np.float32 if datatype == "FP32" else np.int32
    for _ in () if typed else names:
        numbers = [values.randint(-999, 999) for _ in range(rows * columns)]
        fields.append((7, np.array(numbers, dtype).tobytes()))
    return fields


def contents(values: random.Random, datatype: str, count: int) -> bytes:
    """Typed contents, mostly as a client writes them."""
    number, least, largest = TYPED.get(datatype, _FP32 if datatype == "FP32" else _INT32)
    unusual = values.random() < 0.2
    numbers = [
        values.choice([least, largest, 0, values.randint(least, largest), values.randint(0, min(largest, 9))])
        for _ in range(count + (values.choice([-1, 0, 0, 1]) if unusual else 0))
    ]
    if unusual and number not in _FLOATS and values.random() < 0.5:
        numbers[-1] = values.choice([least - 1, largest + 1])
    size = values.choice([1, 2, 5, 10, 11]) if unusual else 1
    each = [
        struct.pack(_FLOATS[number], one) if number in _FLOATS else varint(one % 2**64, size)
        for one in numbers
    ]
    form = (
        values.choice(["packed", "packed", "not packed", "in two", "with another"]) if unusual else "packed"
    )
    if form == "not packed":
        wire_type = {6: 5, 7: 1}.get(number, 0)
        return b"".join(varint(number << 3 | wire_type) + one for one in each)
    half = len(each) // 2 if form == "in two" else len(each)
    packed = [(number, b"".join(each[:half])), (number, b"".join(each[half:]))]
    if form == "with another":
        packed[1] = (values.choice([2, 3, 8, 15]), b"\x01")
    return b"".join(varint(field << 3 | 2) + varint(len(data)) + data for field, data in packed if data)


def edited(rng: random.Random, values: random.Random, fields: Fields) -> Fields:
    """Nearly the same message."""
    fields = list(fields)
    place = rng.randrange(len(fields))
    number, value = fields[place]
    kind = rng.randint(0, 11)
    if kind == 0:
        fields.insert(rng.randint(0, len(fields)), fields[place])
    elif kind == 11:
        # protobuf takes the last one.
        fields[place:place] = [(3, values.choice([b"one", b"two"])), (3, values.choice([b"one", b"two"]))]
    elif kind == 1:
        del fields[place]
    elif kind == 2:
        rng.shuffle(fields)
    elif kind == 3:
        fields.insert(place, (rng.choice([3, 9, 15, 100]), rng.choice([b"", b"abc", b"\xff"])))
    elif kind == 4:
        fields.insert(
            rng.randint(0, len(fields)),
            (rng.choice([1, 2, 3]), rng.choice([b"two", b"now", b"1", b"9", b""])),
        )
    elif kind == 5:
        tensor = pb.ModelInferRequest.InferInputTensor(name="IN", datatype="FP32", shape=[1, 3])
        tensor.contents.fp32_contents.extend([7, 8, 9])
        fields.append((5, tensor.SerializeToString()))
    elif kind == 6:
        parameter = pb.ModelInferRequest(parameters={"p": pb.InferParameter(string_param="x")})
        fields.append((4, parameter.SerializeToString()[2:]))
    elif kind == 7:
        fields.append((7, bytes(rng.choice([0, 4, 12]))))
    elif value and kind == 8:
        cut = rng.randrange(len(value))
        fields[place] = number, value[:cut] + bytes([rng.randrange(256)]) + value[cut + 1 :]
    elif kind == 9:
        fields[place] = number, value + bytes(rng.choice([1, 4, 12]))
    else:
        fields[place] = number, value[: -rng.choice([1, 4])]
    return fields


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A message whose bytes are wrong somewhere."""
    if not data:
        return data
    place = rng.randrange(len(data))
    return rng.choice(
        [
            data[:place],
            data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :],
            data + bytes([rng.randrange(256)]),
        ]
    )


# --- calls --------------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


class _Client:
    """One connection's side of HTTP/2: it has a dynamic table, which it changes now and then."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._next_id = 1

    def call(self, rng: random.Random, method: str, data: bytes) -> tuple[int, bytes]:
        """The stream of a call with this message, and its frames. A method that takes several gets it twice."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        if rng.random() < 0.1:
            # The table is emptied, and the same indices mean something else then.
            self._encoder.header_table_size = 0
            self._encoder.header_table_size = rng.choice([0, 100, 300, 4096, 4096, 4096])
        block = self._encoder.encode(_fields(rng, method), huffman=rng.random() < 0.9)
        body = (struct.pack(">BI", 0, len(data)) + data) * (2 if method == "ModelStreamInfer" else 1)
        return stream_id, _head(rng, stream_id, block) + _body(rng, stream_id, body)


def _fields(rng: random.Random, method: str) -> list[tuple[str, str] | hpack.NeverIndexedHeaderTuple]:
    fields: list[tuple[str, str] | hpack.NeverIndexedHeaderTuple] = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/inference.GRPCInferenceService/{method}"),
        (":authority", "x"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    if rng.random() < 0.1:
        fields.append(("x-token", str(rng.randrange(5))))
    if rng.random() < 0.1:
        fields.append(hpack.NeverIndexedHeaderTuple("x-secret", str(rng.randrange(5))))
    if rng.random() < 0.3:
        fields.append(("traceparent", f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-01"))
    if rng.random() < 0.05:
        fields.append(hpack.NeverIndexedHeaderTuple("authorization", "Bearer " + str(rng.random()) * 40))
    if rng.random() < 0.2:
        fields.append(("grpc-timeout", f"{rng.randint(30_000_000, 60_000_000)}u"))
    if rng.random() < 0.05:
        fields.append(("grpc-encoding", "identity"))
    return fields


# Nothing is padded: grpcio takes padding for payload.


def _head(rng: random.Random, stream_id: int, block: bytes) -> bytes:
    if rng.random() < 0.9:
        return frame(_HEADERS, _END_HEADERS, stream_id, block)
    cut = rng.randint(0, len(block))
    rest = frame(_CONTINUATION, _END_HEADERS, stream_id, block[cut:])
    return frame(_HEADERS, 0, stream_id, block[:cut]) + rest


def _body(rng: random.Random, stream_id: int, body: bytes) -> bytes:
    update = frame(_WINDOW_UPDATE, 0, stream_id, struct.pack(">I", 9)) if rng.random() < 0.3 else b""
    if rng.random() < 0.85:
        return update + frame(_DATA, _END_STREAM, stream_id, body)
    cut = rng.randint(0, len(body))
    end = frame(_DATA, 0, stream_id, body[cut:]) + frame(_DATA, _END_STREAM, stream_id, b"")
    return frame(_DATA, 0, stream_id, body[:cut]) + update + end


# --- scripts ------------------------------------------------------------------------------------------------------


def script(number: int) -> Script:
    """The script with this number."""
    rng = random.Random(number)  # noqa: S311 - nothing secret
    made = Script()
    clients = [_Client() for _ in range(_CONNECTIONS)]
    pending: list[list[bytes]] = [[] for _ in range(_CONNECTIONS)]
    for _ in range(rng.randint(3, 7)):
        connection = rng.randrange(_CONNECTIONS)
        pending[connection] += _visit(rng, clients[connection], connection, made.asked)
    while any(pending):
        connection = rng.choice([index for index in range(_CONNECTIONS) if pending[index]])
        made.steps.append((connection, pending[connection].pop(0)))
    return made


def _visit(
    rng: random.Random, client: _Client, connection: int, asked: dict[tuple[int, int], Asked]
) -> Iterator[bytes]:
    """A few calls of one client, as they come: one that is repeated, with others that resemble it."""
    seed = rng.randrange(10**9)
    calls: list[bytes] = []
    always_edited = rng.random() < 0.3
    for _ in range(rng.randint(3, 6)):
        # The same decisions, so the same form, but other numbers.
        again = random.Random(seed)  # noqa: S311 - nothing secret
        fields = message(again, rng)
        if always_edited:
            fields = edited(again, rng, fields)
        elif rng.random() < 0.4:
            fields = edited(rng, rng, fields)
        data = serialized(again, fields)
        if rng.random() < 0.1:
            data = damaged(rng, data)
        method = rng.choice(_METHODS)
        stream_id, frames = client.call(rng, method, data)
        asked[connection, stream_id] = Asked(method, data)
        calls.append(frames)
    while calls:
        together = calls[: rng.choice([1, 1, 1, 2, 3])]
        del calls[: len(together)]
        sent = b"".join(together)
        cuts = {0, len(sent)}
        if rng.random() < 0.3:
            cuts |= {rng.randint(0, len(sent)) for _ in range(rng.randint(1, 3))}
        elif rng.random() < 0.03:
            cuts |= set(range(len(sent)))
        yield from (sent[start:end] for start, end in pairwise(sorted(cuts)) if end > start)
