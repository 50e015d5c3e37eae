"""What the OpenAPI document says beyond the routes themselves: examples that work when pasted.

The texts are in `openapi.json`: those of FastAPI's routes by the names that `documented` takes, and those of the
models' operations, which FastAPI never sees. An answer is a list: its description, then an example if it has a body.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]

_TEXTS: Json = orjson.loads(Path(__file__).with_name("openapi.json").read_bytes())

_V1_OPERATIONS = frozenset({"predict"})

DESCRIPTION: str = _TEXTS["description"]


def documented(route: str) -> Json:
    """What the decorator of a route is given, beside its path."""
    texts = _TEXTS["routes"][route]
    arguments: Json = {"tags": [texts["tag"]], "responses": _responses(texts.get("answers", {}))}
    if "description" in texts:
        arguments["description"] = texts["description"]
    if "body" in texts:
        content = {"application/json": {"schema": {"type": "object"}, "example": texts["body"]}}
        required = texts.get("body_required", False)
        arguments["openapi_extra"] = {"requestBody": {"required": required, "content": content}}
    return arguments


def _responses(answers: Mapping[str, Sequence[Any]]) -> Json:
    described: Json = {}
    for status, (description, *examples) in answers.items():
        described[status] = {"description": description}
        for example in examples:
            described[status]["content"] = {"application/json": {"example": example}}
    return described


def _model_paths(name: str) -> Json:
    """The operation `name` of a model, with and without a version in its path."""
    operation = {"tags": ["inference"], **_TEXTS["operations"][name]}
    # One of v1 stands behind a colon.
    base, mark = ("/v1/models", ":") if name in _V1_OPERATIONS else ("/v2/models", "/")
    operation["responses"] = {**operation["responses"], **_responses(_TEXTS["operation_failures"])}
    examples = {"model_name": _TEXTS["operation_models"][name], "version": "1"}
    paths = {}
    for parameters in (["model_name"], ["model_name", "version"]):
        version = "/versions/{version}" if "version" in parameters else ""
        described = [
            {"name": each, "in": "path", "required": True, "schema": {"type": "string"}, "example": examples[each]}
            for each in parameters
        ] + _TEXTS["operations"][name].get("parameters", [])  # fmt: skip
        paths[f"{base}/{{model_name}}{version}{mark}{name}"] = {
            "post": {**operation, "operationId": "_".join((name, *parameters)), "parameters": described}
        }
    return paths


def complete(document: Json) -> None:
    """Add to FastAPI's description of its routes what it does not know: examples, and the operations of models."""
    # FastAPI describes its 422 for invalid parameters; ours are strings, and every string is valid.
    document.pop("components", None)
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            # FastAPI takes an argument with a default for a query parameter; these routes have none.
            parameters = [each for each in operation.pop("parameters", []) if each["in"] == "path"]
            if parameters:
                operation["parameters"] = parameters
            for parameter in parameters:
                parameter["example"] = _TEXTS["path_examples"][parameter["name"]]
    for name in _TEXTS["operations"]:
        document["paths"].update(_model_paths(name))
