"""Outputs of classifiers as scikit-learn, LightGBM and their like are exported.

By default their probabilities are no tensor but a sequence of maps, one for each row, from class to probability. The
operator that makes these, ZipMap, lists the classes, in the order of the tensor that it is given; so the maps become
that tensor again, and the classes its labels.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from kserve_v2.errors import InternalError
from kserve_v2.tensors.datatypes import FP32, Array

from .protobuf import fields, integers
from .sizes import Node

_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 2, 4, 5, 7
_ATTRIBUTE_NAME, _INTS, _STRINGS = 1, 8, 9

# By their specification, their first output has one dimension, and an element for each row.
_CLASSIFIERS = frozenset({b"TreeEnsembleClassifier", b"LinearClassifier", b"SVMClassifier"})
_PASS_ON = frozenset({b"Identity", b"Cast"})

Classes = tuple[int, ...] | tuple[str, ...]


def read_zip_map(data: bytes, parts: Sequence[tuple[int, int, int]]) -> dict[str, Classes]:
    """The classes of the output of a node, by its name, if that is a ZipMap. `parts`: the fields of the node."""
    found = {
        number: data[first:last] for number, first, last in parts if number in (_OUTPUT, _OP_TYPE, _DOMAIN)
    }
    if found.get(_OP_TYPE) != b"ZipMap" or found.get(_DOMAIN) != b"ai.onnx.ml":
        return {}
    classes: Classes = ()
    for number, start, end in parts:
        if number == _ATTRIBUTE:
            classes = classes or _classes(data, start, end)
    # Where two are the same, a map does not have all of the tensor.
    return (
        {found[_OUTPUT].decode(): classes}
        if _OUTPUT in found and len(set(classes)) == len(classes) > 0
        else {}
    )


def _classes(data: bytes, start: int, end: int) -> Classes:
    """Those that an attribute of a ZipMap lists."""
    parts = list(fields(data, start, end))
    name = next((data[first:last] for number, first, last in parts if number == _ATTRIBUTE_NAME), b"")
    if name == b"classlabels_int64s":
        return tuple(integers(data, start, end, _INTS))
    if name == b"classlabels_strings":
        return tuple(data[first:last].decode() for number, first, last in parts if number == _STRINGS)
    return ()


def class_outputs(nodes: Iterable[Node]) -> frozenset[str]:
    """The tensors that hold the class of each row, whatever shape the file declares: LightGBM's is [1]."""
    passed_on: dict[bytes, list[bytes]] = {}
    found: list[bytes] = []
    for node in nodes:
        if node.operator in _CLASSIFIERS:
            found += node.outputs[:1]
        elif node.operator in _PASS_ON:
            for name in node.inputs[:1]:
                passed_on.setdefault(name, []).extend(node.outputs)
    for name in found:
        found += passed_on.pop(name, [])
    return frozenset(name.decode() for name in found)


def maps_to_array(name: str, classes: Classes, maps: Sequence[Mapping[Any, float]]) -> Array:
    """One row for each of the maps, one column for each of the classes.

    Raises InternalError for a map that has other classes: ONNX Runtime gives each map all of them.
    """
    array = np.empty((len(maps), len(classes)), FP32.dtype)
    values = itemgetter(*classes)
    for row, probabilities in zip(array, maps, strict=True):
        if len(probabilities) != len(classes):
            raise InternalError(_strange(name, classes, probabilities))
        try:
            row[:] = values(probabilities)
        except KeyError:
            raise InternalError(_strange(name, classes, probabilities)) from None
    return array


def _strange(name: str, classes: Classes, probabilities: Mapping[Any, float]) -> str:
    return f"output '{name}': expected a probability for each of {list(classes)}, got {list(probabilities)}"
