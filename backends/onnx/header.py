"""An ONNX file without its weights, which is all that ONNX Runtime needs to tell inputs, outputs and their shapes.

The weights become inputs of the graph. Small ones stay: shapes are computed from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from .protobuf import encode_field, encode_varint, fields, integers
from .skeleton import skeleton

# More than any shape has, and few beside the weights of a model that is worth the trouble. What the skeleton lacks has
# more.
_MAX_ELEMENTS = 128

_IR_VERSION, _GRAPH = 1, 7
_INITIALIZER, _INPUT = 5, 11
_DIMS, _DATA_TYPE, _TENSOR_NAME = 1, 2, 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
# Since this version of the format an initializer that is an input, too, is the input's default.
_DEFAULTS_SINCE = 4


@dataclass(frozen=True, slots=True)
class Header:
    """`content`: the model without weights. `weights`: the names of those, which are inputs now. `defaults`: those
    of them that are inputs of the file itself, where they have a value.
    """

    content: bytes = b""
    weights: frozenset[str] = frozenset()
    defaults: frozenset[str] = frozenset()


def read_header(file: Path) -> Header:
    """Raises InvalidArgumentError if `file` is no protobuf."""
    with skeleton(file) as data:
        return _header(data)


def _header(data: bytes) -> Header:
    ir_version = max(integers(data, 0, len(data), _IR_VERSION), default=0)
    parts = [encode_varint(_IR_VERSION << 3) + encode_varint(ir_version)]
    weights: set[str] = set()
    inputs: set[str] = set()
    for number, start, end in fields(data, 0, len(data)):
        if number != _GRAPH:
            parts.append(encode_field(number, data[start:end]))
            continue
        declared = {
            _text(data, first, last, _VALUE_NAME)
            for n, first, last in fields(data, start, end)
            if n == _INPUT
        }
        inputs |= declared
        graph: list[bytes] = []
        for inner, first, last in fields(data, start, end):
            if inner != _INITIALIZER or prod(integers(data, first, last, _DIMS)) <= _MAX_ELEMENTS:
                graph.append(encode_field(inner, data[first:last]))
                continue
            name = _text(data, first, last, _TENSOR_NAME)
            weights.add(name)
            if name not in declared:
                graph.append(encode_field(_INPUT, _value_info(data, first, last)))
        parts.append(encode_field(_GRAPH, b"".join(graph)))
    defaults = weights & inputs if ir_version >= _DEFAULTS_SINCE else set()
    return Header(b"".join(parts), frozenset(weights), frozenset(defaults))


def _value_info(data: bytes, start: int, end: int) -> bytes:
    """Name, type and shape of a TensorProto, as a ValueInfoProto."""
    # TypeProto.Tensor: elem_type = 1, shape = 2; TensorShapeProto: dim = 1; Dimension: dim_value = 1.
    dims = (encode_varint(1 << 3) + encode_varint(size) for size in integers(data, start, end, _DIMS))
    shape = b"".join(encode_field(1, dim) for dim in dims)
    element = max(integers(data, start, end, _DATA_TYPE), default=0)
    tensor = encode_varint(1 << 3) + encode_varint(element) + encode_field(2, shape)
    name = _text(data, start, end, _TENSOR_NAME).encode()
    return encode_field(_VALUE_NAME, name) + encode_field(_VALUE_TYPE, encode_field(1, tensor))


def _text(data: bytes, start: int, end: int, wanted: int) -> str:
    return _last(
        data[first:last] for number, first, last in fields(data, start, end) if number == wanted
    ).decode()


def _last(values: Iterator[bytes]) -> bytes:
    """Of a field that stands several times the last one counts."""
    found = b""
    for value in values:
        found = value
    return found
