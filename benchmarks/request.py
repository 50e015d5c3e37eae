"""One large request, and what a model that it is for is made of."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import orjson

METHOD = "/inference.GRPCInferenceService/"
"""What stands before the names of RPCs."""

_HANDLER = """
class Model:
    inputs = {inputs}
    outputs = {{"Y" + name: tensor for name, tensor in inputs.items()}}
    max_batch_size = {batch}
    def __call__(self, inputs):
        return {{"Y" + name: array{part} for name, array in inputs.items()}}
"""


class Request(NamedTuple):
    """`path`: over gRPC, a method. `status`: of its answer over REST; over gRPC, 200 or an error. `server`: its URL's
    name. `gzip`: whether it is compressed over gRPC. What has no body is got.
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = {}
    status: int = 200
    server: str = "REST"
    gzip: bool = False


def handler(inputs: Mapping[str, tuple[str, list[int]]], batch: int = 0, part: str = "") -> str:
    """The code of a model that gives back its inputs, or a `part` of each, and takes so large a batch."""
    return _HANDLER.format(inputs=dict(inputs), batch=batch, part=part)


def as_json(path: str, document: object) -> Request:
    """A request with that body."""
    text = orjson.dumps(document)
    # For orjson, that is NaN.
    return Request(path, json.dumps(document, separators=(",", ":")).encode() if b"null" in text else text)
