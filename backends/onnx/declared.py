"""The inputs and outputs that an ONNX file declares, as a session of ONNX Runtime would tell them, without one.

Field numbers are those of the public onnx.proto3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .protobuf import fields, integers
from .skeleton import skeleton
from .structure import ORT_FORMAT

_IR_VERSION, _GRAPH = 1, 7
_INITIALIZER, _INPUT, _OUTPUT, _SPARSE_INITIALIZER = 5, 11, 12, 15
_TENSOR_NAME, _SPARSE_VALUES = 8, 1
_NAME, _TYPE = 1, 2
_TENSOR, _SEQUENCE, _MAP, _OPTIONAL = 1, 4, 5, 9
_ELEMENT, _SHAPE, _DIM, _SIZE, _SYMBOL = 1, 2, 1, 1, 2
_KEY, _VALUE = 1, 2
# Since this version of the format an initializer that is an input, too, is the input's default.
_DEFAULTS_SINCE = 4

# By TensorProto.DataType.
_ELEMENTS = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "double", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip

Bounds = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Argument:
    """As ONNX Runtime's `NodeArg`: a dimension is a size, a symbol, or None where nothing is said."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True, slots=True)
class DeclaredTensors:
    """What is asked of a session here."""

    inputs: list[Argument]
    outputs: list[Argument]
    defaults: list[Argument]

    def get_inputs(self) -> list[Argument]:
        """Those that have to be given."""
        return self.inputs

    def get_outputs(self) -> list[Argument]:
        """All of them."""
        return self.outputs

    def get_overridable_initializers(self) -> list[Argument]:
        """Inputs that have a value in the file."""
        return self.defaults


class _UnknownError(Exception):
    """The file does not say it."""


def declared_tensors(file: Path) -> DeclaredTensors | None:
    """None where the file does not say enough, and ONNX Runtime works out the rest. Raises InvalidArgumentError if it
    is no protobuf.
    """
    if file.suffix == ORT_FORMAT:
        return None
    with skeleton(file) as data:
        try:
            return _read(data)
        except _UnknownError:
            return None


def _read(data: bytes) -> DeclaredTensors:
    whole = (0, len(data))
    graphs = _parts(data, whole, _GRAPH)
    if len(graphs) != 1:
        raise _UnknownError
    [graph] = graphs
    valued = {_text(data, part, _TENSOR_NAME) for part in _parts(data, graph, _INITIALIZER)}
    for part in _parts(data, graph, _SPARSE_INITIALIZER):
        valued.update(_text(data, values, _TENSOR_NAME) for values in _parts(data, part, _SPARSE_VALUES))
    inputs = [_argument(data, part) for part in _parts(data, graph, _INPUT)]
    outputs = [_argument(data, part) for part in _parts(data, graph, _OUTPUT)]
    if not outputs:
        raise _UnknownError
    since = max(integers(data, *whole, _IR_VERSION), default=0)
    return DeclaredTensors(
        [each for each in inputs if each.name not in valued],
        outputs,
        [each for each in inputs if each.name in valued] if since >= _DEFAULTS_SINCE else [],
    )


def _argument(data: bytes, part: Bounds) -> Argument:
    """Of a ValueInfoProto."""
    type_of = _only(data, part, _TYPE)
    optional = _parts(data, type_of, _OPTIONAL)
    inner = _only(data, optional[0], _ELEMENT) if optional else type_of
    tensors = _parts(data, inner, _TENSOR)
    shape = list(_shape(data, tensors[0])) if tensors else []
    kind = _type(data, inner)
    return Argument(_text(data, part, _NAME), f"optional({kind})" if optional else kind, shape)


def _type(data: bytes, part: Bounds) -> str:
    """Of a TypeProto, in ONNX Runtime's words."""
    if tensors := _parts(data, part, _TENSOR):
        return f"tensor({_element(data, tensors[0], _ELEMENT)})"
    if sequences := _parts(data, part, _SEQUENCE):
        return f"seq({_type(data, _only(data, sequences[0], _ELEMENT))})"
    [maps] = _parts(data, part, _MAP) or [(0, 0)]
    return f"map({_element(data, maps, _KEY)},{_type(data, _only(data, maps, _VALUE))})"


def _element(data: bytes, part: Bounds, number: int) -> str:
    found = _ELEMENTS.get(max(integers(data, *part, number), default=0))
    if found is None:
        raise _UnknownError
    return found


def _shape(data: bytes, tensor: Bounds) -> Iterator[int | str | None]:
    for dim in _parts(data, _only(data, tensor, _SHAPE), _DIM):
        sizes = list(integers(data, *dim, _SIZE))
        symbols = _parts(data, dim, _SYMBOL)
        if sizes and sizes[-1] < 0:
            raise _UnknownError
        yield sizes[-1] if sizes else (_text(data, dim, _SYMBOL) or None if symbols else None)


def _parts(data: bytes, part: Bounds, wanted: int) -> list[Bounds]:
    return [(start, end) for number, start, end in fields(data, *part) if number == wanted]


def _only(data: bytes, part: Bounds, wanted: int) -> Bounds:
    found = _parts(data, part, wanted)
    if len(found) != 1:
        raise _UnknownError
    return found[0]


def _text(data: bytes, part: Bounds, wanted: int) -> str:
    found = _parts(data, part, wanted)
    return data[found[-1][0] : found[-1][1]].decode() if found else ""
