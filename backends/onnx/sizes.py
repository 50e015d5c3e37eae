"""Whether how much an ONNX graph computes may depend on the values of its inputs, and not only on their shapes.

A `Range` up to a number that a client sends runs for as long as the client likes.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

# Operators whose outputs have a size that inputs of theirs say, and which inputs those are.
_SIZED_BY = {
    b"AffineGrid": slice(1, 2),
    b"BlackmanWindow": slice(1),
    b"CenterCropPad": slice(1, 2),
    b"Col2Im": slice(1, None),
    b"ConstantOfShape": slice(1),
    b"CropAndResize": slice(3, 4),
    b"DFT": slice(1, 2),
    b"Expand": slice(1, 2),
    b"HammingWindow": slice(1),
    b"HannWindow": slice(1),
    b"MaxUnpool": slice(2, 3),
    b"MelWeightMatrix": slice(None),
    b"OneHot": slice(1, 2),
    b"Pad": slice(1, 2),
    b"Range": slice(None),
    b"Resize": slice(1, None),
    b"STFT": slice(1, None),
    b"Tile": slice(1, None),
    b"Upsample": slice(1, None),
}
_NO_INPUTS = slice(0)

# Those whose outputs have as many elements as they find.
_FINDERS = frozenset({b"Compress", b"NonMaxSuppression", b"NonZero", b"Unique"})

# What these say of a tensor does not depend on its values.
_OF_SHAPES = frozenset({b"Shape", b"Size"})

# Fields of a node.
_INPUT, _OUTPUT, _OPERATOR = 1, 2, 4


class Node(NamedTuple):
    """A node of a graph: its operator, and the names of its inputs and outputs."""

    operator: bytes
    inputs: Sequence[bytes]
    outputs: Sequence[bytes]

    @property
    def may_be_sized(self) -> bool:
        """Whether it has a size of its own, whatever says which."""
        return self.operator in _FINDERS or self.operator in _SIZED_BY


def read_node(parts: Sequence[tuple[int, bytes]]) -> Node:
    """A node of its fields: numbers and contents."""
    operator = next((content for number, content in parts if number == _OPERATOR), b"")
    inputs = [content for number, content in parts if number == _INPUT]
    return Node(operator, inputs, [content for number, content in parts if number == _OUTPUT])


def sized_by_values(nodes: Sequence[Node], graph_inputs: Collection[bytes]) -> bool:
    """Whether the size of some tensor in a graph depends on the values of `graph_inputs`. It may well depend on their
    shapes.
    """
    if any(node.operator in _FINDERS for node in nodes):
        return True
    asked = [name for node in nodes for name in node.inputs[_SIZED_BY.get(node.operator, _NO_INPUTS)]]
    producers = {name: node for node in nodes for name in node.outputs} if asked else {}
    seen: set[bytes] = set()
    while asked:
        name = asked.pop()
        if name in graph_inputs:
            return True
        producer = producers.get(name)
        if producer is not None and name not in seen and producer.operator not in _OF_SHAPES:
            asked += producer.inputs
        seen.add(name)
    return False
