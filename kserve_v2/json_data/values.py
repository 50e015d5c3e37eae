"""Lists in lists, as people write tensors in JSON, and tensors as such lists."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.base64_texts import NoBase64, decode_base64
from kserve_v2.json_data.tensors import JSON_DTYPES, Elements, LargeList, Texts
from kserve_v2.json_data.text import letters_of
from kserve_v2.tensors.datatypes import Array
from kserve_v2.tensors.json_request import text_or_base64
from kserve_v2.tensors.strings import flat_bytes

B64 = "b64"
"""The member of an object that stands for bytes."""


class LongText:
    """A text in JSON that is long base64. `decoded`: its bytes, or what is wrong with it."""

    __slots__ = ("_text", "decoded")

    def __init__(self, text: memoryview, decoded: bytes | NoBase64) -> None:
        """`text`: as it was sent, without quotes."""
        self._text, self.decoded = text, decoded

    def __str__(self) -> str:
        return "".join(letters_of(self._text))

    def __repr__(self) -> str:
        return repr(str(self))


def is_base64(value: Mapping[str, Any]) -> bool:
    """Whether an object stands for bytes."""
    return value.keys() == {B64} and isinstance(value[B64], str | LongText)


def flatten_nested(value: Any, name: str) -> tuple[Elements, tuple[int, ...]]:
    """The elements of lists in lists, or the one that `value` is, and the sizes of the lists of each level. Raises
    InvalidArgumentError if those of one level differ.
    """
    if not isinstance(value, list | LargeList):
        return [value], ()
    if isinstance(value, LargeList):
        if value.sizes is not None:
            return value, value.sizes
        value = value.lists()
    sizes = [len(value)]
    elements = value
    while list in (types := set(map(type, elements))):
        lengths = [len(each) if type(each) is list else -1 for each in elements]
        if len(types) > 1 or len(set(lengths)) > 1:
            raise _ragged(lengths, sizes, name)
        sizes.append(lengths[0])
        elements = list(chain.from_iterable(elements))
    return elements, tuple(sizes)


def _ragged(lengths: list[int], sizes: list[int], name: str) -> InvalidArgumentError:
    """`lengths`: of what is a list, -1 for what is none; it is as many as `sizes` say."""
    other = next(number for number, length in enumerate(lengths) if length != lengths[0])

    def found(number: int) -> str:
        length, place = lengths[number], ""
        for size in reversed(sizes):
            number, index = divmod(number, size)
            place = f"[{index}]{place}"
        return f"{name}{place} is {'no list' if length < 0 else f'a list of {length}'}"

    return InvalidArgumentError(
        f"input '{name}': the lists of one level must be equally long: {found(0)}, {found(other)}"
    )


def flat_texts(elements: Elements, name: str) -> Array:
    """The elements of a BYTES input, flat: texts, and what `bytes_of` takes. Raises as that."""
    if isinstance(elements, Texts):
        return elements.elements
    if isinstance(elements, LargeList):
        # Not all are texts, and none is an object: what is wrong is found without going through them.
        number, wrong = elements.first_not({str})
        bytes_of(wrong, name, number)
    return flat_bytes(
        [
            each.encode() if type(each) is str else bytes_of(each, name, number)
            for number, each in enumerate(elements)
        ]
    )


def bytes_of(element: Any, name: str, number: int) -> bytes:
    """One element of a BYTES input that is no text: an object with base64, or `bytes` in the place of a text."""
    if isinstance(element, bytes):
        return element
    if not isinstance(element, dict):
        raise InvalidArgumentError(
            f"Unable to parse JSON bytes array: attempt to access JSON non-string as string (input '{name}')"
        )
    if not is_base64(element):
        members = ", ".join(map(repr, list(element)[:8])) or "none"
        raise InvalidArgumentError(
            f'input \'{name}\': element {number} is an object; expected a text, or {{"{B64}": "…"}} with base64 in '
            f"it, got the members {members}"
        )
    coded = element[B64]
    decoded = coded.decoded if isinstance(coded, LongText) else decode_base64(coded, name, number)
    if isinstance(decoded, NoBase64):
        raise decoded.error(name, number)
    return decoded


def as_lists(array: Array, element: Callable[[bytes], Any] = text_or_base64) -> Any:
    """What orjson is given: it writes arrays of numbers itself, if they have dimensions. `element`: what stands for one
    of BYTES.
    """
    if array.dtype in JSON_DTYPES:
        return np.ascontiguousarray(array) if array.ndim else array[()]
    if not array.dtype.hasobject:
        # FP16 and BF16: each of their values is one of FP32.
        return as_lists(array.astype(np.float32))
    if array.ndim == 1:
        return [element(each) for each in array]
    return np.asarray(np.frompyfunc(element, 1, 1)(array), np.object_).tolist()
