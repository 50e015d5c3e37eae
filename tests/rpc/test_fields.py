"""Messages of very many fields are refused before they are parsed, and no others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.net.limits import MAX_FIELDS, MAX_ID_CHARACTERS, MAX_PARAMETERS
from kserve_v2.rpc import wire
from kserve_v2.rpc.codec import decode_request
from kserve_v2.rpc.received import receive

Message = pb.ModelInferRequest
ONE = pb.InferParameter(int64_param=1)
MANY = dict.fromkeys(map(str, range(MAX_FIELDS + 1)), ONE)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 2000), st.just(0), st.integers(0, 2**64 - 1)),
            st.tuples(st.integers(1, 2000), st.just(1), st.binary(min_size=8, max_size=8)),
            st.tuples(st.integers(1, 2000), st.just(2), st.binary(max_size=200)),
            st.tuples(st.integers(1, 2000), st.just(5), st.binary(min_size=4, max_size=4)),
        ),
        max_size=20,
    )
)
def test_fields_of_every_wire_type_are_found(wanted: list[tuple[int, int, int | bytes]]) -> None:
    data = bytearray()
    for number, kind, value in wanted:
        data += wire.varint(number << 3 | kind)
        if isinstance(value, int):
            data += wire.varint(value)
        else:
            data += (wire.varint(len(value)) if kind == wire.LENGTH_DELIMITED else b"") + value
    found = list(wire.fields(bytes(data)))
    assert [number for number, _, _ in found] == [number for number, _, _ in wanted]
    for (_, start, end), (_, kind, value) in zip(found, wanted, strict=True):
        assert data[start:end] == value if kind == wire.LENGTH_DELIMITED else (start, end) == (0, 0)
    # Cut off, or with anything behind it, it comes to an end.
    list(wire.fields(bytes(data[:-1])))
    list(wire.fields(bytes(data) + b"\xff" * 20))


@pytest.mark.parametrize(
    "message",
    [
        Message(parameters=MANY),
        Message(inputs=[Message.InferInputTensor(name="X" * 16)] * (MAX_FIELDS + 1)),
        Message(inputs=[Message.InferInputTensor(name="X", parameters=MANY)]),
        Message(outputs=[Message.InferRequestedOutputTensor(name="Y", parameters=MANY)]),
        Message(raw_input_contents=[bytes(16)] * (MAX_FIELDS + 1)),
    ],
)
def test_a_message_of_very_many_fields_is_refused(message: pb.ModelInferRequest) -> None:
    with pytest.raises(InvalidArgumentError, match=f"more than {MAX_FIELDS} fields"):
        receive(message.SerializeToString())


def test_elements_of_typed_contents_are_no_such_fields() -> None:
    tensor = Message.InferInputTensor(name="X", datatype="BYTES", shape=[2 * MAX_FIELDS])
    tensor.contents.bytes_contents.extend([b"word"] * (2 * MAX_FIELDS))
    data = Message(inputs=[tensor]).SerializeToString()
    assert len(receive(data).message.inputs[0].contents.bytes_contents) == 2 * MAX_FIELDS


@pytest.mark.parametrize("extra", [0, 1])
def test_so_many_parameters_and_so_long_an_id_are_taken_and_no_more(extra: int) -> None:
    regions = SharedMemoryRegions(enabled=False)
    parameters = dict.fromkeys(map(str, range(MAX_PARAMETERS + extra)), ONE)
    messages = [Message(parameters=parameters), Message(id="é" * (MAX_ID_CHARACTERS + extra))]
    for message, says in zip(messages, ("parameters, at most", "id has"), strict=True):
        received = receive(message.SerializeToString())
        if not extra:
            decode_request(received.message, regions)
            continue
        with pytest.raises(InvalidArgumentError, match=says):
            decode_request(received.message, regions)


def test_an_id_that_is_much_too_long_is_refused_before_it_is_parsed() -> None:
    data = Message(id="i" * (5 * MAX_ID_CHARACTERS)).SerializeToString()
    with pytest.raises(InvalidArgumentError, match=f"id has {5 * MAX_ID_CHARACTERS} bytes, at most"):
        receive(data)
