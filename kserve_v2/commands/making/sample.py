"""A request to a model that nobody has asked yet: made-up numbers of the right datatypes and shapes."""

import json
import random
from collections.abc import Mapping
from importlib.resources import files
from math import prod
from typing import Any

# A file with more numbers than that helps nobody.
_MAX_ELEMENTS = 1_000_000
# Where the height and width of an image may vary.
_IMAGE_SIDE = 224
_CHANNELS = (1, 3)
_INTEGERS = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
_TEXTS = {"text": "A text.", "json": "{}"}


def sample_request(config: Mapping[str, Any]) -> str | None:
    """The text of a request in JSON; None where there is none, as for half precision, which JSON does not carry.
    `config`: complete, as `kserve-v2 config --format json` has it.
    """
    numbers = random.Random(0)  # noqa: S311 - no secret
    contents = json.loads(config["parameters"].get("content_types", {}).get("string_value", "{}"))
    inputs = []
    for tensor in config["input"]:
        if tensor.get("optional"):
            continue
        made = _input(tensor, config["max_batch_size"] > 0, contents.get(tensor["name"], ""), numbers)
        if made is None:
            return None
        inputs.append(made)
    if not inputs:
        return None
    head = ""
    if config.get("sequence_batching") is not None:
        head = '  "parameters": {"sequence_id": 1, "sequence_start": true, "sequence_end": true},\n'
    lines = ",\n    ".join(json.dumps(each, ensure_ascii=False) for each in inputs)
    return f'{{\n{head}  "inputs": [\n    {lines}\n  ]\n}}\n'


def datatype_of(tensor: Mapping[str, Any]) -> str:
    """The protocol's datatype of an input or output of a configuration."""
    return str(tensor["data_type"]).removeprefix("TYPE_").replace("STRING", "BYTES")


def _input(
    tensor: Mapping[str, Any], batched: bool, content: str, numbers: random.Random
) -> dict[str, Any] | None:
    dims = [int(size) for size in tensor["dims"]]
    datatype = datatype_of(tensor)
    side = _side(dims, datatype)
    shape = [1] * batched + [side if size < 0 else size for size in dims]
    count = prod(shape)
    if count > _MAX_ELEMENTS:
        return None
    made: dict[str, Any] = {"name": tensor["name"], "datatype": datatype, "shape": shape}
    if content == "image":
        request = json.loads((files("kserve_v2") / "templates" / "image" / "sample_request.json").read_text())
        [drawing] = request["inputs"]
        return made | {"parameters": drawing["parameters"], "data": drawing["data"] * count}
    if datatype in ("FP32", "FP64"):
        return made | {"data": [round(numbers.random(), 3) for _ in range(count)]}
    if datatype in _INTEGERS:
        return made | {"data": [1] * count}
    if datatype in ("BOOL", "BYTES"):
        return made | {"data": [True if datatype == "BOOL" else _TEXTS.get(content, "text")] * count}
    return None


def _side(dims: list[int], datatype: str) -> int:
    """What stands for a size that may vary: one of whatever it is, but for what looks like an image."""
    *_, first, second, third = (0, 0, 0, *dims)
    if (first in _CHANNELS and second == third == -1) or (third in _CHANNELS and first == second == -1):
        return _IMAGE_SIDE
    return _IMAGE_SIDE if datatype == "UINT8" and second == third == -1 else 1
