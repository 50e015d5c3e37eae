"""A tensor of a request in JSON, as a file has it that a person has written, such as a model's sample; and elements of
BYTES in JSON.
"""

import base64
from collections.abc import Mapping
from math import prod
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_NAME, BYTES, Array
from kserve_v2.tensors.values import leaves, to_array

_B64 = "b64"


def tensor_of(item: Mapping[str, Any]) -> Array:
    """The tensor that an element of `inputs` is: what the server would read, or an error. Raises InvalidArgumentError,
    and ValueError, KeyError or TypeError for what is no tensor in JSON.
    """
    name, datatype, shape = str(item["name"]), BY_NAME[item["datatype"]], list(map(int, item["shape"]))
    if any(size < 0 for size in shape):
        raise InvalidArgumentError(f"input '{name}': a shape has no {min(shape)} in it, got {shape}")
    # However they are nested: the shape is said by itself.
    elements = list(leaves(item["data"]))
    if datatype is BYTES:
        encoded = (item.get("parameters") or {}).get("content_type") == "base64"
        elements = [_decoded(each, encoded=encoded) for each in elements]
    array = to_array(elements, datatype, name)
    if prod(shape) != len(array):
        raise InvalidArgumentError(
            f"input '{name}': {len(array)} elements in 'data' do not make the shape {shape}"
        )
    return array.reshape(shape)


def _decoded(element: Any, *, encoded: bool) -> Any:
    """The bytes of what is base64; else what it is."""
    if isinstance(element, dict) and element.keys() == {_B64}:
        return base64.b64decode(element[_B64], validate=True)
    return base64.b64decode(element, validate=True) if encoded else element


def text_or_base64(element: bytes) -> str | dict[str, str]:
    """An element of BYTES in JSON: a text, or an object with the base64 of bytes that are none."""
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {_B64: base64.b64encode(element).decode()}
