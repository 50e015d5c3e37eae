"""A request to a model, as a command to paste into a shell."""

import json
import shlex
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from kserve_v2.messages import ModelMetadata, TensorMetadata
from kserve_v2.net.unix_socket import unix_path

SAMPLE_REQUEST = "sample_request.json"
"""The file beside a model with a request to it."""

_MAX_EXAMPLE_ELEMENTS = 64

# An example value of each datatype that JSON can carry; FP16 and BF16 travel as binary data only.
_EXAMPLE_VALUES: dict[str, object] = {
    "BOOL": False,
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"), 0),
    **dict.fromkeys(("FP32", "FP64"), 0.0),
    "BYTES": "text",
}
# An example of what a handler decodes; for an image there is none that anybody would like to read.
_EXAMPLE_CONTENTS = {"text": "text", "json": "{}"}


def example_curl(
    server: str,
    metadata: ModelMetadata,
    directory: Path,
    *,
    in_sequence: bool = False,
    contents: Mapping[str, str] = MappingProxyType({}),
) -> str | None:
    """A command to paste into a shell that sends one request to a model, or None where it would get too long, or need
    an image.

    `server`: the URL of REST without a path, or `unix:PATH`. `directory`: the model's own; a `sample_request.json` in
    it is sent. Otherwise the request is all zeros, and if the model's requests belong to sequences, which is
    `in_sequence`, it is a whole one. `contents`: what is in BYTES inputs, by name: `image`, `text` or `json`.
    """
    sample = directory / SAMPLE_REQUEST
    if sample.is_file():
        body = "@" + _path_from_here(sample.resolve())
    else:
        request = example_request(metadata, in_sequence=in_sequence, contents=contents)
        if request is None:
            return None
        body = json.dumps(request, separators=(",", ":"))
    path, option = unix_path(server), ""
    if path is not None:
        # Curl wants a host in any case, and sends its name.
        server, option = "http://localhost", f"--unix-socket {shlex.quote(path)} "
    url = f"{server}/v2/models/{quote(metadata.name, safe='')}/infer"
    return f"curl -s {option}{shlex.quote(url)} -d {shlex.quote(body)}"


def example_request(
    metadata: ModelMetadata, *, in_sequence: bool = False, contents: Mapping[str, str] = MappingProxyType({})
) -> dict[str, object] | None:
    """A request to a model that is all zeros; None where it would get too long, or need an image. For the rest see
    `example_curl`.
    """
    inputs = [_example_input(tensor, contents.get(tensor.name, "text")) for tensor in metadata.inputs]
    if not inputs or None in inputs:
        return None
    step = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}
    return {"parameters": step, "inputs": inputs} if in_sequence else {"inputs": inputs}


def _path_from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _example_input(tensor: TensorMetadata, content: str) -> dict[str, object] | None:
    shape = [1 if size < 0 else size for size in tensor.shape]
    if tensor.datatype not in _EXAMPLE_VALUES or prod(shape) > _MAX_EXAMPLE_ELEMENTS:
        return None
    if content not in _EXAMPLE_CONTENTS:
        return None
    value = _EXAMPLE_CONTENTS[content] if tensor.datatype == "BYTES" else _EXAMPLE_VALUES[tensor.datatype]
    data = [value] * prod(shape)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": data}
