"""Hypothesis strategies that damage what is valid: JSON documents, bytes and protobuf messages."""

import copy
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.integration.support import DTYPES

_TEXTS = ["", "IN", "OUT", "A", "X", "é", "\0", "\ud800", "\U0001f600", "a" * 300, *DTYPES]
_NUMBERS = [
    0,
    1,
    -1,
    3,
    2**31,
    2**62,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
]
_NAMES = [
    "id", "parameters", "inputs", "outputs", "name", "datatype", "shape", "data", "binary_data_size", "binary_data",
    "binary_data_output", "classification", "sequence_id", "sequence_start", "priority", "timeout", "triton_x",
    "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset", "key", "offset", "byte_size", "raw_handle",
    "b64", "ready", "config", "file:1/model.py", "unload_dependents", "log_format", "trace_rate", "COUNT", "TEXT",
]  # fmt: skip

scalars: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_TEXTS),
    st.text(max_size=8),
    st.sampled_from(_NUMBERS),
    st.integers(-5, 9),
)
values: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged_documents(draw: DrawFn, valid: SearchStrategy[Any]) -> bytes:
    """The text of a valid JSON document after a few changes of its members."""
    document = copy.deepcopy(draw(valid))
    for _ in range(draw(st.integers(0, 3))):
        document = _change(draw, document)
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    return text.encode(errors="surrogatepass")


def _change(draw: DrawFn, document: Any) -> Any:
    """Change one place somewhere inside."""
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 9)) == 0:
        return draw(values)
    places = list(document) if isinstance(document, dict) else list(range(len(document)))
    place = draw(st.sampled_from(places))
    action = draw(st.sampled_from(["inside", "inside", "replace", "remove", "add", "wrap"]))
    if action == "inside":
        document[place] = _change(draw, document[place])
    elif action == "replace":
        document[place] = draw(values)
    elif action == "remove":
        del document[place]
    elif action == "wrap":
        document[place] = [document[place]]
    elif isinstance(document, dict):
        document[draw(st.sampled_from(_NAMES))] = draw(values)
    else:
        document.append(draw(st.sampled_from(document)))
    return document


@st.composite
def damaged_bytes(draw: DrawFn, valid: SearchStrategy[bytes]) -> bytes:
    """Bytes with some replaced, removed, repeated or added."""
    data = draw(valid)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 4, 50])))
        data = data[:start] + draw(st.binary(max_size=4) | st.just(data[start:end] * 2)) + data[end:]
    return data


@st.composite
def damaged_messages(draw: DrawFn, valid: SearchStrategy[Any]) -> Any:
    """A protobuf message after a few changes of its fields."""
    message = draw(valid)
    made = type(message)()
    made.CopyFrom(message)
    for _ in range(draw(st.integers(0, 3))):
        _change_message(draw, made)
    return made


def _change_message(draw: DrawFn, message: Any) -> None:
    if not message.DESCRIPTOR.fields:
        return
    field = draw(st.sampled_from(list(message.DESCRIPTOR.fields)))
    present = getattr(message, field.name)
    if draw(st.integers(0, 4)) == 0:
        message.ClearField(field.name)
    elif hasattr(present, "items"):
        entry = present[draw(st.sampled_from([*_NAMES, "triton_enable_empty_final_response"]))]
        if hasattr(entry, "DESCRIPTOR"):
            _change_message(draw, entry)
    elif field.message_type is not None and field.is_repeated:
        _change_message(draw, draw(st.sampled_from(list(present))) if present else present.add())
    elif field.message_type is not None:
        present.SetInParent()
        _change_message(draw, present)
    elif field.is_repeated:
        present.extend(draw(st.lists(_field_values(field), max_size=3)))
    else:
        setattr(message, field.name, draw(_field_values(field)))


def _field_values(field: Any) -> SearchStrategy[Any]:
    if field.cpp_type == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return st.binary(max_size=20)
        return st.sampled_from([text for text in _TEXTS if text != "\ud800"]) | st.text(max_size=8)
    if field.cpp_type == field.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return st.floats(width=32)
    bits = 31 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 63
    signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
    return st.sampled_from(
        [0, 1, 3, 2**bits - 1, 2 ** (bits - 1), *([-1, -(2**bits)] if signed else [2**bits])]
    )
