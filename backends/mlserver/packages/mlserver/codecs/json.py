"""JSON in elements of tensors, and as answers."""

import json
from typing import Any

import numpy as np

from .lists import as_list
from .string import decode_str
from .utils import InputOrOutput, raw_data


class JSONEncoderWithArray(json.JSONEncoder):
    """Takes arrays and numbers of numpy's, too."""

    def default(self, o: Any) -> Any:
        """A list, or a number, in their place."""
        return o.tolist() if isinstance(o, np.ndarray | np.floating | np.integer) else super().default(o)


class _WithBytes(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        return decode_str(o) if isinstance(o, bytes) else super().default(o)


def _dumps(value: Any, encoder: type[json.JSONEncoder]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), cls=encoder)


def encode_to_json(v: Any, use_bytes: bool = True) -> str | bytes:
    """A value in JSON. `use_bytes`: in UTF-8."""
    text = _dumps(v, JSONEncoderWithArray)
    return text.encode() if use_bytes else text


def encode_to_json_bytes(v: Any) -> bytes:
    """A value in JSON, in which bytes are texts."""
    return _dumps(v, _WithBytes).encode()


def decode_from_bytelike_json_to_dict(v: bytes | str) -> Any:
    """What a text of JSON means."""
    return json.loads(v)


def decode_json_input_or_output(input_or_output: InputOrOutput) -> list[Any]:
    """What each element of a tensor means."""
    return [json.loads(each) for each in as_list(raw_data(input_or_output))]
