"""Requests by name: members of a JSON object are inputs and parameters. So are files and the fields of forms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, ParameterValue
from kserve_v2.rest.generate_values import Layout, decode_value
from kserve_v2.rest.json_text import parse_object
from kserve_v2.scheduling.signature import ModelSignature


@dataclass(slots=True)
class Said:
    """What a request says, whatever form it has. `inputs`: values by name; see `decode_value`."""

    inputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    id: str = ""
    layout: Layout = field(default_factory=Layout)


def members(document: Any) -> Iterable[tuple[dict[str, Any], str]]:
    """The places for large lists of numbers; see `large_json.Places`."""
    return ((document, name) for name in document) if isinstance(document, dict) else ()


def read_json(body: bytes | bytearray | memoryview, signature: ModelSignature, document: Any = None) -> Said:
    """Read a body in JSON, or the `document` that was made of it before. A member that is called like an input is that
    input; all others are parameters, and so are the members of an object called `parameters`.

    Raises InvalidArgumentError that names the member.
    """
    document = dict(parse_object(body, document))
    said = Said()
    # As in `infer`, an optional member that is null counts as missing.
    nested = document.pop("parameters", None)
    if nested is None:
        nested = {}
    if not isinstance(nested, dict):
        raise InvalidArgumentError(
            "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as object"
        )
    if isinstance(document.get("id"), str):
        said.id = document["id"]
    for name, value in {**nested, **document}.items():
        is_input = name in signature.inputs
        if value is None and (is_input or name == "id"):
            continue
        if is_input:
            said.inputs[name] = value
        else:
            said.parameters[name] = _parameter(name, value, document, signature)
    return said


def _parameter(
    name: str, value: Any, document: Mapping[str, Any], signature: ModelSignature
) -> ParameterValue:
    """As `parameter`. Of what cannot be one, while an input is missing, it is said that it is no input either."""
    try:
        return parameter(name, value)
    except InvalidArgumentError as error:
        if all(each in document or tensor.optional for each, tensor in signature.inputs.items()):
            raise
        inputs = ", ".join(f"'{each}'" for each in signature.inputs)
        raise InvalidArgumentError(
            f"{error.message} It is no input of model '{signature.model_name}'; its inputs: {inputs}"
        ) from None


def parameter(name: str, value: Any) -> ParameterValue:
    """A parameter of a request. Raises InvalidArgumentError for what cannot be one."""
    if isinstance(value, str | bool | int | float):
        return value
    raise InvalidArgumentError(
        f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
    )


def request_of(said: Said, signature: ModelSignature, model_name: str, version: str) -> InferRequest:
    """The request that was meant. Notes in its layout how it was written. Raises InvalidArgumentError that names the
    input.
    """
    request = InferRequest(model_name, {}, version, said.id)
    request.parameters.update(said.parameters)
    for name, value in said.inputs.items():
        request.inputs[name] = decode_value(value, signature.inputs[name], signature, said.layout)
    return request
