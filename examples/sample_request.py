"""The `sample_request.json` of a model: a body that can be posted to its infer route as it is."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Value = int | float | str


def sample_request(
    inputs: Iterable[str], outputs: Iterable[str] = (), parameters: Mapping[str, Value] | None = None
) -> bytes:
    """The request body: its parameters, if any, and the JSON texts of its inputs and, if any, its requested outputs."""
    members = [f'"parameters": {json.dumps(parameters)}'] if parameters else []
    members += [f'"inputs": [{", ".join(inputs)}]']
    if requested := ", ".join(outputs):
        members.append(f'"outputs": [{requested}]')
    return ("{" + ",\n ".join(members) + "}\n").encode()


def input_tensor(name: str, datatype: str, shape: Sequence[int], data: npt.ArrayLike) -> str:
    """One input as JSON text: its elements in one flat list, printed one innermost row a line."""
    rows = np.asarray(data).reshape(-1, shape[-1]).tolist()
    lines = ",\n    ".join(", ".join(json.dumps(value) for value in row) for row in rows)
    head = json.dumps({"name": name, "datatype": datatype, "shape": list(shape)})
    return f'{head[:-1]}, "data": [\n    {lines}]}}'


def image_tensor(name: str, file: bytes) -> str:
    """One input as JSON text: a file, in base64."""
    data = base64.b64encode(file).decode()
    head = {"name": name, "datatype": "BYTES", "shape": [1, 1], "parameters": {"content_type": "base64"}}
    return json.dumps({**head, "data": [data]})


def classified_output(name: str, count: int) -> str:
    """One requested output as JSON text: its `count` highest values with their labels."""
    return json.dumps({"name": name, "parameters": {"classification": count}})
