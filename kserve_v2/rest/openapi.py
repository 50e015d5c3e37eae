"""What the OpenAPI document says beyond the routes themselves: examples that work when pasted.

The texts of a protocol are in its `openapi.json`: those of FastAPI's routes by the names that `documented` takes, and
those of the models' operations, which FastAPI never sees. An answer is a list: its description, then an example if it
has a body.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]


class Texts:
    """What is said of one protocol."""

    def __init__(self, folder: Path, base: str = "/v2/models", mark: str = "/") -> None:
        """`folder`: of its `openapi.json`. `base`, `mark`: what is in front of a model in the path of an operation, and
        behind it.
        """
        self.texts: Json = orjson.loads((folder / "openapi.json").read_bytes())
        self._base = base
        self._mark = mark

    def documented(self, route: str) -> Json:
        """What the decorator of a route is given, beside its path."""
        texts = self.texts["routes"][route]
        arguments: Json = {"tags": [texts["tag"]], "responses": _responses(texts.get("answers", {}))}
        if "description" in texts:
            arguments["description"] = texts["description"]
        if "body" in texts:
            content = {"application/json": {"schema": {"type": "object"}, "example": texts["body"]}}
            required = texts.get("body_required", False)
            arguments["openapi_extra"] = {"requestBody": {"required": required, "content": content}}
        return arguments

    def model_paths(self, name: str) -> Json:
        """The operation `name` of a model, with and without a version in its path."""
        operation = {"tags": ["inference"], **self.texts["operations"][name]}
        operation["responses"] = {**operation["responses"], **_responses(_V2.texts["operation_failures"])}
        examples = {"model_name": self.texts["operation_models"][name], "version": "1"}
        paths = {}
        for parameters in (["model_name"], ["model_name", "version"]):
            version = "/versions/{version}" if "version" in parameters else ""
            described = [
                {"name": each, "in": "path", "required": True, "schema": {"type": "string"}, "example": examples[each]}
                for each in parameters
            ] + self.texts["operations"][name].get("parameters", [])  # fmt: skip
            paths[f"{self._base}/{{model_name}}{version}{self._mark}{name}"] = {
                "post": {**operation, "operationId": "_".join((name, *parameters)), "parameters": described}
            }
        return paths


def _responses(answers: Mapping[str, Sequence[Any]]) -> Json:
    described: Json = {}
    for status, (description, *examples) in answers.items():
        described[status] = {"description": description}
        for example in examples:
            described[status]["content"] = {"application/json": {"example": example}}
    return described


_V2 = Texts(Path(__file__).parent)

DESCRIPTION: str = _V2.texts["description"]

documented = _V2.documented


def complete(document: Json, others: Iterable[Texts]) -> None:
    """Add to FastAPI's description of its routes what it does not know: examples, and the operations of models, also in
    the protocols of `others`.
    """
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
                parameter["example"] = _V2.texts["path_examples"][parameter["name"]]
    for protocol in (*others, _V2):
        for name in protocol.texts["operations"]:
            document["paths"].update(protocol.model_paths(name))
