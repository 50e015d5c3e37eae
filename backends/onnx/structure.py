"""What the server wants to know of an ONNX file beyond its inputs and outputs: where weights lie elsewhere, what it
computes with, and what its classes are.

Found by walking the protobuf encoding; field numbers as in the public onnx.proto3.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .classifiers import Classes, class_outputs, read_zip_map
from .protobuf import fields
from .sizes import Node, read_node, sized_by_values
from .skeleton import skeleton

# Which fields of a message lead to tensors and graphs, and to what kind of message.
_BRANCHES: dict[str, dict[int, str]] = {
    "model": {7: "main", 20: "training", 25: "function"},
    "main": {1: "main_node", 5: "tensor", 15: "sparse_tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse_tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "subgraph",
        10: "tensor",
        11: "subgraph",
        22: "sparse_tensor",
        23: "sparse_tensor",
    },
    "sparse_tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external_data"},
}
_BRANCHES["subgraph"] = _BRANCHES["graph"]
_BRANCHES["main_node"] = _BRANCHES["node"]
_KEY, _VALUE = 1, 2

# Fields of a graph and of what describes an input.
_GRAPH_INPUT, _INPUT_NAME = 11, 1
# What a node has to say of sizes: its inputs, outputs and operator.
_OF_A_NODE = frozenset({1, 2, 4})


_RECURRENT = frozenset({b"GRU", b"LSTM", b"RNN"})

ORT_FORMAT = ".ort"
"""How ONNX Runtime knows files in its own format."""


@dataclass(frozen=True, slots=True)
class OnnxStructure:
    """`external_locations`: the names of files that hold weights. `has_control_flow`: whether a node, also one of a
    local function, has a graph of its own to run (Loop, Scan, If and their like). How often it does may depend on the
    inputs, so what one execution took says nothing about the next. `sized_by_values`: the same, because the size of
    what is computed may depend on the values of the inputs. `recurrent`: whether it has a recurrent layer; those
    of ONNX Runtime end the process where they are given no elements. `classes`: by name, of those outputs that are maps
    from class to probability. `class_outputs`: the names of tensors that hold the class of each row.
    """

    external_locations: frozenset[str] = frozenset()
    has_control_flow: bool = False
    sized_by_values: bool = False
    recurrent: bool = False
    classes: Mapping[str, Classes] = field(default_factory=dict)
    class_outputs: frozenset[str] = frozenset()


def read_structure(file: Path) -> OnnxStructure:
    """Raises InvalidArgumentError if `file` is no protobuf."""
    if file.suffix == ORT_FORMAT:  # which cannot name other files
        return OnnxStructure(has_control_flow=True, recurrent=True)
    with skeleton(file) as data:
        return _walk(data)


def _walk(data: bytes) -> OnnxStructure:
    locations: set[str] = set()
    has_control_flow = False
    classes: dict[str, Classes] = {}
    nodes: list[Node] = []
    graph_inputs: set[bytes] = set()
    sized = recurrent = False
    stack = [("model", 0, len(data))]
    while stack:
        kind, start, end = stack.pop()
        if kind == "external_data":
            locations.update(_location(data, start, end))
            continue
        parts = list(fields(data, start, end))
        if kind == "main_node":
            classes |= read_zip_map(data, parts)
            nodes.append(_node(data, parts))
            recurrent = recurrent or nodes[-1].operator in _RECURRENT
        elif kind == "node":
            # Of a local function, whose inputs may be anything, or of a graph within a node.
            node = _node(data, parts)
            sized = sized or node.may_be_sized
            recurrent = recurrent or node.operator in _RECURRENT
        elif kind == "main":
            graph_inputs.update(_names(data, parts))
        has_control_flow = has_control_flow or kind == "subgraph"
        branches = _BRANCHES[kind]
        stack += [(branches[number], first, last) for number, first, last in parts if number in branches]
    sized = sized or sized_by_values(nodes, graph_inputs)
    return OnnxStructure(
        frozenset(locations), has_control_flow, sized, recurrent, classes, class_outputs(nodes)
    )


def _node(data: bytes, parts: Iterable[tuple[int, int, int]]) -> Node:
    return read_node([(number, data[first:last]) for number, first, last in parts if number in _OF_A_NODE])


def _names(data: bytes, parts: Iterable[tuple[int, int, int]]) -> Iterator[bytes]:
    """The names of a graph's inputs."""
    for number, start, end in parts:
        if number == _GRAPH_INPUT:
            yield from (
                data[first:last] for each, first, last in fields(data, start, end) if each == _INPUT_NAME
            )


def _location(data: bytes, start: int, end: int) -> Iterator[str]:
    """Where an entry of a tensor's `external_data` says that the data lies, if it says that."""
    entry = {number: data[first:last] for number, first, last in fields(data, start, end)}
    if entry.get(_KEY) == b"location":
        yield entry.get(_VALUE, b"").decode()
