"""The forms of requests in JSON, with or without binary tensors behind it. What differs is the value of the member
`id`, and the tensors: lists of numbers as the member `data` of inputs, or bytes behind the JSON. See `kserve_v2.forms`.

A value in a gap is parsed by itself. If it is one JSON value, what surrounds it means what it has meant before.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from itertools import chain
from json.decoder import JSONArray, JSONObject  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import orjson

from kserve_v2.forms import Data, Form, Forms, Gap, bare, raw_reader, until
from kserve_v2.messages import InferRequest
from kserve_v2.rest.codec import ResponseFormat
from kserve_v2.rest.heads import Body, InferHead
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BOOL, Array
from kserve_v2.tensors.numbers import array_maker

# Requests with more JSON are decoded each time: all of their time goes into their numbers.
MAX_JSON_BYTES = 32 * 1024

_LISTS, _BOOLEANS = frozenset({list}), frozenset({bool})

_value = json.JSONDecoder().raw_decode

# There is neither in a list of numbers, and one of them comes soon behind it.
_MARK = re.compile(rb'["}]')

RestForm = Form[ResponseFormat]


def key_of(head: InferHead, body: Body) -> tuple[str, str, int] | None:
    """What to look a request up by: the model, its version, and how many bytes follow the JSON. None for what has no
    form.
    """
    headers, size = head.headers, len(body)
    json_bytes = head.json_bytes or (0 if b"inference-header-content-length" in headers else size)
    if not 0 < json_bytes <= size or json_bytes > MAX_JSON_BYTES:
        return None
    return head.model_name, head.version, size - json_bytes


def note(
    forms: Forms[ResponseFormat],
    head: InferHead,
    body: Body,
    request: InferRequest,
    signature: ModelSignature,
    response_format: ResponseFormat,
) -> None:
    """Note the form of a request that the codec has decoded, checked against `signature`."""
    key = key_of(head, body)
    if key is not None:
        make = partial(form_of, body, len(body) - key[2], request, signature, response_format)
        forms.note(key, body, request, signature, make)


def form_of(
    body: Body,
    json_bytes: int,
    request: InferRequest,
    signature: ModelSignature,
    response_format: ResponseFormat,
) -> RestForm | None:
    """The form of a request that begins with `json_bytes` of JSON. None where more can matter: shared memory, members
    with one name, tensors of which some are in the JSON and others behind it.
    """
    text = bytes(body[:json_bytes])
    # A member's name could be written with escapes.
    if b"shared_memory" in text or b"\\u" in text:
        return None
    try:
        # In this encoding every byte is a character.
        places = _places(text.decode("latin-1"), request)
        if places is None:
            return None
        gaps, position = [], 0
        for place in places:
            gaps.append(_gap(place, position, text, request))
            position = place.end
    except (ValueError, LookupError, RecursionError):
        # It is in a dialect that orjson does not take.
        return None
    last = text[position:]
    if json_bytes < len(body):
        for name, array in request.inputs.items():
            gaps.append(Gap(last, len(last), array.nbytes, name, raw_reader(array.dtype, array.shape)))
            last = b""
    return Form(tuple(gaps), last, bare(request), signature, response_format)


class _Place(NamedTuple):
    """Where a value is, and of which input; None for the id's."""

    start: int
    end: int
    name: str | None


def _gap(place: _Place, begin: int, text: bytes, request: InferRequest) -> Gap:
    """The gap where a value is. What is before it, from `begin` on, is the same in all requests."""
    before, value = text[begin : place.start], text[place.start : place.end]
    if place.name is None:
        return Gap(before, len(before), until(b'"', 1, 1), None, orjson.loads)
    mark = _MARK.search(text, place.end)
    assert mark is not None  # noqa: S101 - it is in an object, which ends
    numbers, depth = orjson.loads(value), 1
    while numbers and type(numbers[0]) is list:
        numbers, depth = numbers[0], depth + 1
    end = until(mark.group(), 0, place.end - mark.start())
    return Gap(before, len(before), end, place.name, numbers_reader(request.inputs[place.name], depth))


def numbers_reader(like: Array, depth: int) -> Callable[[Data], Array]:
    """Reads lists in lists, so many levels of them, of the numbers of a tensor; see `Gap`."""
    make = array_maker(like.dtype, like.shape)
    if like.dtype == BOOL.dtype:
        return lambda text: make(_booleans(_flat(orjson.loads(text), depth)))

    def read(text: Data) -> Array:
        if type(text) is not bytes:
            text = bytes(text)
        numbers = orjson.loads(text)
        # Only true and false have these letters, and to `make` they would be numbers.
        if b"u" in text or b"s" in text:
            raise ValueError
        return make(numbers if depth == 1 else _flat(numbers, depth))

    return read


def _flat(lists: list[Any], depth: int) -> list[Any]:
    for _ in range(depth - 1):
        if not _LISTS.issuperset(map(type, lists)):
            raise ValueError
        lists = list(chain.from_iterable(lists))
    return lists


def _booleans(found: list[Any]) -> list[Any]:
    if not _BOOLEANS.issuperset(map(type, found)):
        raise ValueError
    return found


# --- where the values are -----------------------------------------------------------------------------------------


def _places(text: str, request: InferRequest) -> list[_Place] | None:
    """Where a valid request has its id and its numbers, in their order."""
    start = len(text) - len(text.lstrip(" \t\n\r"))
    if text[start] != "{":
        # There is a byte order mark.
        return None
    members = _members(text, start)
    document = dict(members)
    items, _ = JSONArray((text, document["inputs"][0] + 1), _place_of)
    inputs = [_members(text, start) for start, _ in items]
    if any(len(dict(each)) < len(each) for each in (members, *inputs)):
        return None
    data = [dict(each).get("data") for each in inputs]
    of_id = document.get("id")
    ids = [_Place(*of_id, None)] if of_id is not None and text[of_id[0]] == '"' else []
    lists = [
        _Place(*place, name)
        for place, name in zip(data, request.inputs, strict=True)
        if place is not None and text[place[0]] == "["
    ]
    return sorted(ids + lists) if len(lists) in (0, len(inputs)) else None


def _members(text: str, start: int) -> list[tuple[str, tuple[int, int]]]:
    """The members of the object at `start` in valid JSON: their names, and where the values are."""
    return JSONObject((text, start + 1), True, _place_of, None, list)[0]  # type: ignore[no-any-return]


def _place_of(text: str, start: int) -> tuple[tuple[int, int], int]:
    """Where the value at `start` is. To the parsers of `json`, that is what they find."""
    end = _value(text, start)[1]
    return (start, end), end
