"""Requests that are not what the specification says a request is: what is wrong, as a table."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Spoil = Callable[[Json], object]


@dataclass(frozen=True, slots=True)
class FormCase:
    """`spoil` takes a valid request object and returns the body to send: a JSON value, or bytes as they are.

    `loose`: the server may also read it as what was meant, if it then answers right.
    """

    name: str
    clause: str
    about: str
    spoil: Spoil
    loose: bool = False
    model: str = "identity"


def _text(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda body: change(json.dumps(body).encode())


def _set(member: str, value: object) -> Spoil:
    """Replace a member of the request."""
    return lambda body: {**body, member: value}


def _input(member: str, value: object) -> Spoil:
    """Replace a member of the first input."""

    def spoil(body: Json) -> Json:
        body["inputs"][0][member] = value
        return body

    return spoil


def _without(member: str) -> Spoil:
    """Leave a member of the first input out."""

    def spoil(body: Json) -> Json:
        del body["inputs"][0][member]
        return body

    return spoil


def _no_inputs(body: Json) -> Json:
    return {name: value for name, value in body.items() if name != "inputs"}


def _fractions(body: Json) -> Json:
    body["inputs"][0]["shape"] = [size + 0.5 for size in body["inputs"][0]["shape"]]
    return body


def _strings(body: Json) -> Json:
    body["inputs"][0]["shape"] = [str(size) for size in body["inputs"][0]["shape"]]
    return body


FORM_CASES = (
    # Two inputs: without them, an empty body may pass for the bytes of a tensor that has no elements.
    FormCase("empty-body", "REST-FORM-001", "Nothing at all.", lambda _: b"", model="add_sub"),
    FormCase(
        "cut-off", "REST-FORM-001", "The last half is missing.", _text(lambda text: text[: len(text) // 2])
    ),
    FormCase(
        "trailing-text", "REST-FORM-001", "Something behind the object.", _text(lambda text: text + b" x")
    ),
    FormCase("two-objects", "REST-FORM-001", "The object twice.", _text(lambda text: text + text)),
    FormCase("plain-text", "REST-FORM-001", "No JSON.", lambda _: b"hello"),
    FormCase("not-utf8", "REST-FORM-001", "Bytes that are no UTF-8.", lambda _: b'{"inputs": "\xff\xfe"}'),
    FormCase("array", "REST-FORM-002", "An array.", lambda _: []),
    FormCase("null", "REST-FORM-002", "null.", lambda _: b"null"),
    FormCase("string", "REST-FORM-002", "A string.", lambda _: b'"inputs"'),
    FormCase("no-inputs", "REST-FORM-003", "No member `inputs`.", _no_inputs),
    FormCase("empty-object", "REST-FORM-003", "An empty object.", lambda _: {}),
    FormCase("inputs-null", "REST-FORM-003", "`inputs` is null.", _set("inputs", None)),
    FormCase(
        "inputs-object",
        "REST-FORM-003",
        "`inputs` is an object.",
        lambda body: {**body, "inputs": body["inputs"][0]},
    ),
    FormCase("inputs-string", "REST-FORM-003", "`inputs` is a string.", _set("inputs", "INPUT0")),
    FormCase("input-number", "REST-FORM-003", "An input is a number.", _set("inputs", [1])),
    FormCase("no-name", "REST-FORM-004", "An input without `name`.", _without("name")),
    FormCase("name-number", "REST-FORM-004", "`name` is a number.", _input("name", 1)),
    FormCase("name-null", "REST-FORM-004", "`name` is null.", _input("name", None)),
    FormCase("no-shape", "REST-FORM-005", "An input without `shape`.", _without("shape")),
    FormCase("shape-number", "REST-FORM-005", "`shape` is a number.", _input("shape", 5)),
    FormCase("shape-null", "REST-FORM-005", "`shape` is null.", _input("shape", None)),
    FormCase("shape-fractions", "REST-FORM-005", "The dimensions are fractions.", _fractions),
    FormCase("shape-strings", "REST-FORM-005", "The dimensions are strings.", _strings, loose=True),
    FormCase("no-datatype", "REST-FORM-006", "An input without `datatype`.", _without("datatype")),
    FormCase("datatype-number", "REST-FORM-006", "`datatype` is a number.", _input("datatype", 32)),
    FormCase("datatype-null", "REST-FORM-006", "`datatype` is null.", _input("datatype", None)),
    FormCase("no-data", "REST-FORM-007", "An input without `data`.", _without("data")),
    FormCase("data-null", "REST-FORM-007", "`data` is null.", _input("data", None)),
    FormCase("data-object", "REST-FORM-007", "`data` is an object.", _input("data", {})),
    FormCase("data-string", "REST-FORM-007", "`data` is a string.", _input("data", "1,2,3,4,5")),
    FormCase("id-number", "REST-FORM-008", "`id` is a number.", _set("id", 42)),
    FormCase("id-object", "REST-FORM-008", "`id` is an object.", _set("id", {})),
    FormCase("outputs-object", "REST-FORM-009", "`outputs` is an object.", _set("outputs", {})),
    FormCase("outputs-string", "REST-FORM-009", "`outputs` is a string.", _set("outputs", "OUTPUT0")),
    FormCase("output-without-name", "REST-FORM-009", "An output without `name`.", _set("outputs", [{}])),
    FormCase(
        "output-name-number",
        "REST-FORM-009",
        "The `name` of an output is a number.",
        _set("outputs", [{"name": 1}]),
    ),
    FormCase("parameters-string", "REST-FORM-010", "`parameters` is a string.", _set("parameters", "none")),
    FormCase("parameters-array", "REST-FORM-010", "`parameters` is an array.", _set("parameters", [1])),
    *(
        FormCase(
            f"parameter-{name}",
            "REST-FORM-011",
            f"A parameter is {value!r}.",
            _set("parameters", {"conformance": value}),
        )
        for name, value in (("array", [1]), ("object", {"a": 1}), ("null", None))
    ),
)
