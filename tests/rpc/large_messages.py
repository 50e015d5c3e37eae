"""Large messages, and whether what is read of them in slices is what comes of them in one go."""

from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.rpc import wire
from kserve_v2.rpc.codec import decode_request
from kserve_v2.rpc.large import receive_large
from kserve_v2.rpc.received import Received, receive
from kserve_v2.scheduling.slices import Room, any_room, at_once

REGIONS = SharedMemoryRegions(enabled=False)


def field(number: int, content: bytes) -> bytes:
    return wire.head(number, len(content)) + content


MODEL = field(1, b"m") + field(3, b"id")


def tensor(datatype: str, count: int, contents: bytes | None = None, *more: bytes) -> bytes:
    described = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=[count])
    parts = [described.SerializeToString(), *([] if contents is None else [field(5, contents)]), *more]
    return field(5, b"".join(parts))


def outcome(read: Any) -> Any:
    try:
        received = read()
        request, forms = decode_request(received.message, REGIONS, received.raw, received.typed)
    except InvalidArgumentError as error:
        return error.message
    shown = {
        name: (array.dtype, array.shape, array.tolist() if array.dtype.hasobject else array.tobytes())
        for name, array in request.inputs.items()
    }
    return shown, forms, request.id, request.parameters, request.model_name, bytes(received.data)


def in_slices(data: bytes, room: Room = any_room) -> Received:
    found = receive_large(data, room)
    return found if isinstance(found, Received) else at_once(found)


def check_the_same(data: bytes) -> None:
    expected = outcome(lambda: receive(data))
    assert outcome(lambda: in_slices(data)) == expected
    assert outcome(lambda: in_slices(data, lambda _: False)) == expected
