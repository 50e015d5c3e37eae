"""What is not decoded again is what would have been decoded, and what is written without protobuf is what it writes."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.forms import MAX_ALIKE, MAX_BEGIN_ALIKE, MAX_REMEMBERED_BYTES, Forms, gives, may_recur
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.messages import InferRequest, InferResponse, same_request
from kserve_v2.rpc import answer as answer_module
from kserve_v2.rpc import wire
from kserve_v2.rpc.answer import AnswerEncoder
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.codec import decode_request, encode_response
from kserve_v2.rpc.recurring import RpcForm, form_of, key_of, note
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BY_NAME, BYTES, DATATYPES, Datatype
from kserve_v2.tensors.raw import aligned_memory

REGIONS = SharedMemoryRegions(enabled=False)
SIGNATURE = ModelSignature(ModelConfig(name="m"))
NAMES = st.text(max_size=8)
FIXED_SIZE = [datatype for datatype in DATATYPES if datatype is not BYTES]


def decoded(message: pb.ModelInferRequest) -> InferRequest:
    request = decode_request(message, REGIONS)[0]
    request.checked = True
    return request


def noted(
    forms: Forms[None],
    message: pb.ModelInferRequest,
    data: Serialized | None = None,
    signature: ModelSignature = SIGNATURE,
) -> None:
    """Have a message noted that has been checked against a signature, as often as it takes."""
    for _ in range(2):
        note(forms, data or message.SerializeToString(), message, decoded(message), signature)


def recalled(forms: Forms[None], data: Serialized) -> tuple[RpcForm, InferRequest] | None:
    """What there is of a message by the forms that are known."""
    return forms.find(key_of(data), data)


@st.composite
def messages(draw: st.DrawFn) -> pb.ModelInferRequest:
    """Valid requests with raw contents of any kind."""
    message = pb.ModelInferRequest(model_name=draw(NAMES), model_version=draw(NAMES), id=draw(NAMES))
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        datatype = draw(st.sampled_from(FIXED_SIZE))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        message.inputs.add(name=name, datatype=datatype.name, shape=shape)
        size = int(np.prod(shape, dtype=int)) * datatype.item_size
        message.raw_input_contents.append(draw(st.binary(min_size=size, max_size=size)))
    for name in draw(st.lists(NAMES, max_size=2, unique=True)):
        message.outputs.add(name=name)
    return message


def like(message: pb.ModelInferRequest, byte: int, request_id: str) -> pb.ModelInferRequest:
    """The same request with other bytes and another id."""
    other = pb.ModelInferRequest.FromString(message.SerializeToString())
    other.id = request_id
    for index, raw in enumerate(message.raw_input_contents):
        other.raw_input_contents[index] = bytes([byte]) * len(raw)
    return other


@pytest.mark.slow
@settings(deadline=None)
@given(messages(), st.integers(0, 255), st.booleans(), st.data())
def test_a_request_of_a_form_is_read_as_by_protobuf(
    message: pb.ModelInferRequest, byte: int, view: bool, data: st.DataObject
) -> None:
    forms: Forms[None] = Forms()
    noted(forms, message)
    size = len(message.id.encode())
    again = like(
        message,
        byte,
        data.draw(st.sampled_from([message.id, "x" * size, "é" * (size // 2) + "y" * (size % 2)])),
    )
    sent: Serialized = again.SerializeToString()
    if view:
        sent = memoryview(sent)
    found = recalled(forms, sent)
    assert found is not None
    request = found[1]
    assert request.checked
    assert same_request(request, decoded(again))
    assert all(array.flags.aligned for array in request.inputs.values())


def test_the_last_tensor_of_a_large_message_is_used_where_it_is() -> None:
    """As `MessageReader` lays it out. The one before it ends anywhere, and is copied."""
    message = pb.ModelInferRequest(model_name="m")
    for name, size in (("A", 1001), ("B", 1000)):
        message.inputs.add(name=name, datatype="FP64", shape=[size])
        message.raw_input_contents.append(bytes(size * 8))
    data = message.SerializeToString()
    place = aligned_memory(len(data), aligned_at=len(data))
    place[:] = data
    forms: Forms[None] = Forms()
    noted(forms, message, place)
    found = recalled(forms, place)
    assert found is not None
    request = found[1]
    whole = np.frombuffer(place, np.uint8)
    assert [np.shares_memory(request.inputs[name], whole) for name in ("A", "B")] == [False, True]
    assert all(array.flags.aligned for array in request.inputs.values())


@pytest.mark.slow
@settings(deadline=None)
@given(messages(), messages())
def test_another_request_is_not_taken_for_one_of_the_form(
    first: pb.ModelInferRequest, second: pb.ModelInferRequest
) -> None:
    forms: Forms[None] = Forms()
    noted(forms, first)
    sent = second.SerializeToString()
    found = recalled(forms, sent)
    if found is not None:
        assert same_request(found[1], decoded(second))


@pytest.mark.slow
@settings(deadline=None)
@given(messages(), st.integers(0, 10**6), st.integers(1, 255))
def test_a_request_with_one_other_byte(message: pb.ModelInferRequest, where: int, change: int) -> None:
    """It is no longer of the form, or means what protobuf says."""
    data = message.SerializeToString()
    if not data:
        return
    forms: Forms[None] = Forms()
    noted(forms, message)
    place = where % len(data)
    changed = data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
    found = recalled(forms, changed)
    if found is not None:
        assert same_request(found[1], decoded(pb.ModelInferRequest.FromString(changed)))


PLAIN = pb.ModelInferRequest(
    model_name="m",
    inputs=[pb.ModelInferRequest.InferInputTensor(name="IN", datatype="FP32", shape=[1])],
    raw_input_contents=[bytes(4)],
)


def changed(change: Any) -> pb.ModelInferRequest:
    """PLAIN after a change."""
    message = pb.ModelInferRequest.FromString(PLAIN.SerializeToString())
    change(message)
    return message


def typed(datatype: str, values: list[Any], request_id: str = "") -> pb.ModelInferRequest:
    """A request with typed contents."""
    message = pb.ModelInferRequest(model_name="m", id=request_id)
    tensor = message.inputs.add(name="IN", datatype=datatype, shape=[1, len(values)])
    getattr(tensor.contents, BY_NAME[datatype].contents_field).extend(values)
    return message


TYPED: list[tuple[str, list[Any], list[Any]]] = [
    ("FP32", [1.5, -0.0, 1e-45], [float("inf"), 3.4e38, 7]),
    ("FP64", [1.5, -0.0, 5e-324], [float("-inf"), 1e308, 7]),
    ("BOOL", [True, False, True], [False, False, True]),
    ("INT8", [1, 2, 3], [-128, 127, -1]),
    ("INT16", [1, 2, 3], [-(2**15), 2**15 - 1, -1]),
    ("INT32", [1, 2, 3], [-(2**31), 2**31 - 1, -1]),
    ("INT64", [-1, 2, 3], [-(2**63), 2**63 - 1, 0]),
    ("UINT8", [1, 2, 3], [0, 255, 128]),
    ("UINT16", [1, 2, 3], [0, 2**16 - 1, 128]),
    ("UINT32", [1, 2, 3], [0, 2**32 - 1, 128]),
    ("UINT64", [1, 2, 3], [0, 2**64 - 1, 128]),
]


@pytest.mark.parametrize(("datatype", "values", "others"), TYPED)
def test_typed_contents(datatype: str, values: list[Any], others: list[Any]) -> None:
    """Of the same shape, however many bytes the numbers take."""
    forms: Forms[None] = Forms()
    noted(forms, typed(datatype, values, "a"))
    other = typed(datatype, others, "another")
    for sent in (other.SerializeToString(), memoryview(other.SerializeToString())):
        found = recalled(forms, sent)
        assert found is not None
        assert same_request(found[1], decoded(other))
        # As if protobuf had read it.
        found[1].inputs["IN"][0] = 1
    longer = typed(datatype, [*others, 1], "a").SerializeToString()
    assert recalled(forms, longer) is None


def with_contents(datatype: str, contents: bytes, count: int = 2) -> bytes:
    """A request with two inputs, whose typed contents are these bytes."""
    tensor = wire.text(1, "left") + wire.text(2, datatype) + wire.head(3, 1) + bytes([count])
    tensor += wire.head(5, len(contents)) + contents
    other = tensor.replace(b"left", b"more")
    return wire.text(1, "m") + b"".join(wire.head(5, len(each)) + each for each in (tensor, other))


def contents_of(datatype: str, values: list[Any]) -> bytes:
    return typed(datatype, values).inputs[0].contents.SerializeToString()


INTEGERS = wire.tag(2)
CONTENTS = {
    "padded": (b"%c\x06\x81\x80\x00\x82\x80\x00" % INTEGERS, [1, 2]),
    "as long as can be": (
        b"%c\x14" % INTEGERS + b"\xfe" + b"\xff" * 8 + b"\x01" + b"\xff" * 9 + b"\x01",
        [-2, -1],
    ),
    "too long": (b"%c\x0c\x01" % INTEGERS + b"\x80" * 10 + b"\x00", None),
    "a negative number in five bytes": (b"%c\x06\xff\xff\xff\xff\x0f\x01" % INTEGERS, [-1, 1]),
    "more bits than there are": (b"%c\x07\x81\x80\x80\x80\x80\x01\x02" % INTEGERS, [1, 2]),
    "not packed": (b"\x10\x01\x10\x02", [1, 2]),
    "in two parts": (b"%c\x01\x01%c\x01\x02" % (INTEGERS, INTEGERS), [1, 2]),
    "partly packed": (b"%c\x01\x01\x10\x02" % INTEGERS, [1, 2]),
    "too few": (b"%c\x01\x01" % INTEGERS, None),
    "too many": (b"%c\x03\x01\x02\x03" % INTEGERS, None),
    "none": (b"", None),
    "cut off": (b"%c\x02\x01\x80" % INTEGERS, None),
    "longer than the contents": (b"%c\x09\x01\x02" % INTEGERS, None),
    "another field": (contents_of("INT64", [1, 2]), None),
    "another field too": (contents_of("INT32", [1, 2]) + contents_of("FP32", [1]), None),
    "a field that is not known": (contents_of("INT32", [1, 2]) + wire.text(15, "new"), [1, 2]),
    "not a field": (b"\x03", None),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_integers_as_protobuf_reads_them(name: str) -> None:
    """A message of the form gives what it says, or is left to the codec, which refuses it."""
    contents, expected = CONTENTS[name]
    usual = with_contents("INT32", contents_of("INT32", [1, 2]))
    forms: Forms[None] = Forms()
    noted(forms, pb.ModelInferRequest.FromString(usual), usual)
    sent = with_contents("INT32", contents)
    for data in (sent, memoryview(sent)):
        found = recalled(forms, data)
        assert (found is None) == (expected is None)
        if found is not None:
            assert same_request(found[1], decoded(pb.ModelInferRequest.FromString(sent)))
            assert found[1].inputs["left"].tolist() == expected
    if expected is None:
        with pytest.raises((InvalidArgumentError, DecodeError)):
            decoded(pb.ModelInferRequest.FromString(sent))


@pytest.mark.parametrize(("datatype", "value"), [("INT8", 128), ("INT8", -129), ("INT16", 2**15), ("UINT8", 256), ("UINT16", 2**16)])  # fmt: skip
def test_a_number_out_of_range_is_left_to_the_codec(datatype: str, value: int) -> None:
    forms: Forms[None] = Forms()
    noted(forms, typed(datatype, [1, 2]))
    message = typed(datatype, [1, value])
    assert recalled(forms, message.SerializeToString()) is None
    with pytest.raises(InvalidArgumentError, match=f"out of range for {datatype}"):
        decoded(message)


@pytest.mark.slow
@settings(deadline=None)
@given(st.sampled_from([each[:2] for each in TYPED]), st.binary(max_size=24), st.booleans())
def test_any_bytes_as_typed_contents(like_this: tuple[str, list[Any]], garbage: bytes, packed: bool) -> None:
    """What comes of them is what comes of them without forms."""
    datatype, values = like_this
    usual = with_contents(datatype, contents_of(datatype, values), len(values))
    forms: Forms[None] = Forms()
    noted(forms, pb.ModelInferRequest.FromString(usual), usual)
    field = contents_of(datatype, values)[:1]
    contents = field + bytes([len(garbage)]) + garbage if packed else garbage
    sent = with_contents(datatype, contents, len(values))
    found = recalled(forms, sent)
    try:
        expected = decoded(pb.ModelInferRequest.FromString(sent))
    except (InvalidArgumentError, DecodeError):
        assert found is None
    else:
        assert found is not None
        assert same_request(found[1], expected)


@pytest.mark.slow
def test_typed_contents_with_one_other_byte() -> None:
    """Anywhere: in a length, too, of which there are three for each input."""
    data = with_contents("INT32", contents_of("INT32", [1, 300]))
    forms: Forms[None] = Forms()
    noted(forms, pb.ModelInferRequest.FromString(data), data)
    known = 0
    for place, byte in product(range(len(data)), range(256)):
        other = data[:place] + bytes([byte]) + data[place + 1 :]
        found = recalled(forms, other)
        if found is not None:
            known += 1
            assert same_request(found[1], decoded(pb.ModelInferRequest.FromString(other)))
    # Half of the bytes, in the place of each of the six of the numbers.
    assert known > 6 * 127


def test_inputs_that_are_long_to_describe_are_decoded_each_time() -> None:
    """What forms keep of them would not be counted."""
    message = typed("INT32", [1, 2])
    message.inputs[0].name = "IN" * 200
    forms: Forms[None] = Forms()
    noted(forms, message)
    assert forms.nbytes == 0


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "INT8", "BOOL"])
def test_empty_contents(datatype: str) -> None:
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="IN", datatype=datatype, shape=[0, 2]).contents.SetInParent()
    array = decoded(message).inputs["IN"]
    assert (array.shape, array.dtype) == ((0, 2), BY_NAME[datatype].dtype)


def test_ids_of_any_length() -> None:
    forms: Forms[None] = Forms()
    noted(forms, changed(lambda m: setattr(m, "id", "a")))
    for request_id in ("", "b", "é" * 63, "x" * 127, "x" * 128, "x" * 1000):
        message = changed(lambda m, each=request_id: setattr(m, "id", each))
        found = recalled(forms, message.SerializeToString())
        assert (found is not None) == (request_id != "")
        if found is not None:
            assert same_request(found[1], decoded(message))
    broken = changed(lambda m: setattr(m, "id", "abc")).SerializeToString().replace(b"abc", b"a\xffc")
    assert recalled(forms, broken) is None


NOT_REMEMBERED = {
    "parameters": changed(lambda m: m.parameters["p"].CopyFrom(pb.InferParameter(bool_param=True))),
    "input-parameters": changed(lambda m: m.inputs[0].parameters["p"].CopyFrom(pb.InferParameter(bool_param=True))),
    "output-parameters": changed(lambda m: m.outputs.add(name="O").parameters["classification"].CopyFrom(pb.InferParameter(int64_param=1))),
    "contents": changed(lambda m: m.inputs[0].contents.fp32_contents.append(1)),
    "other contents": changed(lambda m: [m.ClearField("raw_input_contents"), m.inputs[0].contents.fp64_contents.append(1)]),
    "too-many-raw": changed(lambda m: m.raw_input_contents.append(b"x")),
    "too-few-raw": changed(lambda m: m.ClearField("raw_input_contents")),
    "long": changed(lambda m: setattr(m, "model_name", "m" * 5000)),
    "many-parts": changed(lambda m: [m.outputs.add(name=str(n)) for n in range(70)]),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_REMEMBERED)
def test_requests_that_are_decoded_each_time(name: str) -> None:
    message, request = NOT_REMEMBERED[name], decoded(PLAIN)
    forms: Forms[None] = Forms()
    note(forms, message.SerializeToString(), message, request, SIGNATURE)
    note(forms, message.SerializeToString(), message, request, SIGNATURE)
    assert forms.nbytes == 0
    assert proved(message.SerializeToString(), message, request) is None
    assert proved(PLAIN.SerializeToString(), PLAIN, request) is not None


def test_strings_are_decoded_each_time() -> None:
    message = changed(lambda m: setattr(m.inputs[0], "datatype", "BYTES"))
    forms: Forms[None] = Forms()
    noted(forms, message)
    assert forms.nbytes == 0


def proved(data: bytes, message: pb.ModelInferRequest, request: InferRequest) -> RpcForm | None:
    """The form of a request if one would be kept."""
    form = form_of(data, message, request, SIGNATURE)
    return form if form is not None and may_recur(request) and gives(form, data, request) else None


def test_two_ids() -> None:
    """protobuf takes the last one."""
    data = PLAIN.SerializeToString() + wire.text(3, "a") + wire.text(3, "b")
    message = pb.ModelInferRequest.FromString(data)
    assert proved(data, message, decoded(message)) is None


def test_a_form_that_would_not_give_its_own_request_is_none() -> None:
    data, request = PLAIN.SerializeToString(), decoded(PLAIN)
    assert proved(data, PLAIN, request) is not None
    wrong = replace(request, inputs={"IN": request.inputs["IN"] + 1})
    assert proved(data, PLAIN, wrong) is None
    assert proved(data, PLAIN, replace(request, cancelled=True)) is None


def test_a_form_is_remembered_when_it_comes_again() -> None:
    forms: Forms[None] = Forms()
    for seen in range(3):
        message = changed(lambda m, seen=seen: m.raw_input_contents.__setitem__(0, bytes([seen] * 4)))
        data = message.SerializeToString()
        assert (recalled(forms, data) is not None) == (seen == 2)
        note(forms, data, message, decoded(message), SIGNATURE)


def test_what_is_remembered_is_bounded() -> None:
    """And what is used stays."""
    forms: Forms[None] = Forms()
    noted(forms, PLAIN)
    for size in range(MAX_REMEMBERED_BYTES // 2048):
        noted(forms, changed(lambda m, size=size: setattr(m, "model_name", "n" * size)))
        assert recalled(forms, PLAIN.SerializeToString()) is not None
    assert forms.nbytes <= MAX_REMEMBERED_BYTES


@pytest.mark.parametrize(
    ("request_id", "most"), [("", MAX_ALIKE), ("an id, which comes first", MAX_BEGIN_ALIKE)]
)
def test_of_forms_that_are_alike_the_one_in_use_stays(request_id: str, most: int) -> None:
    forms: Forms[None] = Forms()
    plain = changed(lambda m: setattr(m, "id", request_id))
    noted(forms, plain)
    for number in range(most + 10):

        def change(message: pb.ModelInferRequest, number: int = number) -> None:
            message.id = request_id
            message.inputs[0].name = f"{number:02}"

        noted(forms, changed(change))
        assert recalled(forms, plain.SerializeToString()) is not None
    [alike] = forms._known.values()
    assert alike is not None
    assert len(alike) == most
    assert forms.nbytes == alike.nbytes


def test_models_whose_messages_have_one_length() -> None:
    forms: Forms[None] = Forms()
    messages = [changed(lambda m, n=n: setattr(m, "model_name", f"model-{n:02}")) for n in range(20)]
    for message in messages:
        noted(forms, message)
    for message in messages:
        found = recalled(forms, message.SerializeToString())
        assert found is not None
        assert found[1].model_name == message.model_name


def test_a_form_takes_the_place_of_an_outdated_one() -> None:
    forms: Forms[None] = Forms()
    data = PLAIN.SerializeToString()
    for signature in [ModelSignature(ModelConfig(name="m")) for _ in range(20)]:
        noted(forms, PLAIN, signature=signature)
        found = recalled(forms, data)
        assert found is not None
        assert found[0].signature is signature
    assert [len(alike or ()) for alike in forms._known.values()] == [1]


# --- answers ----------------------------------------------------------------------------------------------------


def array_of(datatype: Datatype, shape: list[int], values: bytes) -> Any:
    """An array with some bytes in it."""
    if datatype is BYTES:
        array = np.empty(int(np.prod(shape, dtype=int)), np.object_)
        array[:] = [values] * array.size
        return array.reshape(shape)
    size = int(np.prod(shape, dtype=int)) * datatype.item_size
    return np.frombuffer((values * (size + 1))[:size] if values else bytes(size), datatype.dtype).reshape(
        shape
    )


# What answers without classes do not depend on.
ANY_MODEL: Any = SimpleNamespace(labels={}, batched=False)


@st.composite
def responses(draw: st.DrawFn) -> InferResponse:
    """Answers of any kind."""
    outputs = {
        name: array_of(draw(st.sampled_from(DATATYPES)), draw(st.lists(st.integers(0, 3), max_size=3)), draw(st.binary(max_size=9)))
        for name in draw(st.lists(NAMES, max_size=3, unique=True))
    }  # fmt: skip
    parameters = draw(st.dictionaries(NAMES, st.booleans() | st.integers(-5, 5) | NAMES, max_size=1))
    return InferResponse(draw(NAMES), draw(NAMES), draw(NAMES), outputs, parameters)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(responses(), min_size=1, max_size=4))
def test_an_answer_is_what_protobuf_would_make_of_it(answers: list[InferResponse]) -> None:
    encoder = AnswerEncoder()
    for answer in answers * 3:
        expected = b"".join(encode_response(answer, {}, {}, batched=True))
        # Its fields are in the order in which protobuf has them.
        assert pb.ModelInferResponse.FromString(expected).SerializeToString() == expected
        assert b"".join(encoder.encode(answer, {}, ANY_MODEL)) == expected


def test_a_large_output_is_not_copied() -> None:
    array = np.arange(100_000, dtype=np.float32)
    encoder = AnswerEncoder()
    for parameters in ({}, {"some": 1}):
        answer = InferResponse("m", "1", "", {"OUT": array}, parameters)
        for _ in range(3):
            parts = encoder.encode(answer, {}, ANY_MODEL)
            assert isinstance(parts[-1], memoryview)
            assert np.shares_memory(np.frombuffer(parts[-1], np.float32), array)


def test_an_answer_that_is_too_large_to_be_remembered() -> None:
    answer = InferResponse("m" * 3_000_000, "1", "", {"OUT": np.zeros(1, np.int8)})
    encoder = AnswerEncoder()
    for _ in range(4):
        written = b"".join(encoder.encode(answer, {}, ANY_MODEL))
        assert written == b"".join(encode_response(answer, {}, {}, batched=False))


def test_an_output_that_is_not_contiguous() -> None:
    array = np.arange(200_000, dtype=np.float32)[::2]
    answer = InferResponse("m", "1", "", {"OUT": array})
    encoder = AnswerEncoder()
    for _ in range(3):
        written = b"".join(encoder.encode(answer, {}, ANY_MODEL))
        assert written == b"".join(encode_response(answer, {}, {}, batched=False))


def test_a_frame_that_is_not_protobuf_s_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "_describe", lambda *_: b"")
    encoder, response = AnswerEncoder(), InferResponse("m", "1", "", {"OUT": np.zeros(1, np.float32)})
    for _ in range(4):
        written = b"".join(encoder.encode(response, {}, ANY_MODEL))
        assert written == b"".join(encode_response(response, {}, {}, batched=False))


def test_an_id_whose_length_takes_more_bytes_than_it_needs() -> None:
    """Of two bytes of a length, the last one alone says something else."""
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[bytes(8)])
    message.inputs.add(name="X", datatype="FP64", shape=[1])
    before, after = message.SerializeToString()[:3], message.SerializeToString()[3:]
    first = before + b"\x1a\x80\x00" + after
    forms: Forms[None] = Forms()
    noted(forms, pb.ModelInferRequest.FromString(first), first)
    assert recalled(forms, first) is not None
    # An id of 3 << 7 bytes, which are not there.
    assert recalled(forms, before + b"\x1a\x80\x03abc" + after) is None


# --- the wire format --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (150, "9601"), (2**32, "8080808010")],
)
def test_varints(number: int, encoded: str) -> None:
    """150 is the example of protobuf's documentation."""
    assert wire.varint(number).hex() == encoded
    assert wire.read_varint(bytes.fromhex(encoded), 0) == (number, len(encoded) // 2)


@pytest.mark.parametrize("data", ["80", "ff" * 11, ""])
def test_varints_that_are_cut_off(data: str) -> None:
    with pytest.raises(IndexError):
        wire.read_varint(bytes.fromhex(data), 0)


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\5abc", b"\x08\1", b"\x82\1\0", b"\x0d\0\0\0\0", b"\x0a\0" * 5]
)
def test_what_has_no_parts(data: bytes) -> None:
    assert wire.parts(data, 4) is None
