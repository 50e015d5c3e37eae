"""KServe's version 2, as TorchServe has it: the inputs of one request are the handler's batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ts.torch_handler.request_envelope.base import BaseEnvelope, content

_TYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
_NAMES: dict[Any, str] = {np.dtype(dtype): name for name, dtype in _TYPES.items()}


class KServev2Envelope(BaseEnvelope):
    """Of a batch there is one request only."""

    _inputs: list[dict[str, Any]] = []  # noqa: RUF012 - of one request
    _id: Any = None

    def parse_input(self, data: Sequence[Any]) -> Any:
        """Its inputs, each with its data in its shape."""
        body = content(data[0])
        if isinstance(body, (bytes, bytearray)):
            body = json.loads(bytes(body).decode())
        self._id = body.get("id")
        self._inputs = body["inputs"]
        return [_shaped(each) for each in self._inputs]

    def format_output(self, data: Any) -> Any:
        """One output for each input, by its name."""
        outputs = []
        for given, result in zip(self._inputs, data):
            array = np.array(result)
            texts = array.dtype.kind in "OUS"
            outputs.append(
                {
                    "name": given["name"],
                    "datatype": "BYTES" if texts else _NAMES[array.dtype],
                    "data": [result] if texts and not isinstance(result, list) else array.flatten().tolist(),
                    "shape": [1] if texts and not isinstance(result, list) else [array.size],
                }
            )
        # As the archive says them, whatever it was registered as.
        model = (self.context.manifest or {}).get("model") or {}
        return [
            {
                "id": self._id if self._id is not None else self.context.get_request_id(0),
                "model_name": model.get("modelName", self.context.model_name),
                "model_version": model.get("modelVersion", "1.0"),
                "outputs": outputs,
            }
        ]


def _shaped(given: Any) -> Any:
    if given["datatype"] == "BYTES":
        return {**given, "data": given["data"][0]}
    array = np.array(given["data"], _TYPES[given["datatype"]]).reshape(given["shape"])
    return {**given, "data": array.tolist()}
