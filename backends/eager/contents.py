"""Inputs and outputs that are texts, JSON or images: BYTES tensors, whose elements are decoded and encoded here."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ConfigurationError, InternalError, InvalidArgumentError
from kserve_v2.tensors.datatypes import Array

from ..parameters import integer, parameter_texts
from .annotations import Declared
from .declaration import Declaration
from .images import MAX_PIXELS, decode_image, encode_image, require_pillow
from .outputs import is_torch_tensor
from .undecodable import UndecodableError

MAX_PIXELS_PARAMETER = "max_image_pixels"

_MOST_PIXELS = 2**31 - 1

_TRUNCATED = 60


class Contents:
    """Those of one handler."""

    def __init__(self, inputs: Iterable[Declared], outputs: Iterable[Declared], config: ModelConfig) -> None:
        """Raises InvalidArgumentError if something is missing for one of them."""
        self._batched = config.max_batch_size > 0
        if "image" in [each.content.name for each in (*inputs, *outputs)]:
            require_pillow()
        decoders: dict[str, Callable[[bytes], Any]] = {
            "text": _decode_text,
            "json": _decode_json,
            "image": partial(decode_image, max_pixels=max_pixels(config)),
        }
        self._inputs = {each.name: (decoders[each.content.name], each.several) for each in inputs}
        self._outputs = {each.name: (_ENCODERS[each.content.name], each.several) for each in outputs}

    def decode(self, arguments: dict[str, Any]) -> None:
        """Put values in the places of arrays. Raises UndecodableError."""
        wrong: dict[int, tuple[str, str]] = {}
        count = 1
        for name, (decoder, several) in self._inputs.items():
            if name not in arguments:
                # It may be left out.
                continue
            elements = self._elements(name, arguments[name], several)
            count = len(elements)
            values: list[Any] = []
            for row, element in enumerate(elements):
                try:
                    values.append(decoder(element))
                except InvalidArgumentError as error:
                    wrong.setdefault(row, (name, error.message))
            arguments[name] = values if self._batched or several else (values or [None])[0]
        if wrong:
            raise UndecodableError(wrong, batched=self._batched, count=count)

    def _elements(self, name: str, array: Array, several: bool) -> list[bytes]:
        """One for each row."""
        rows = array.shape[0] if self._batched else array.size if several else 1
        if array.size != rows:
            each = " in each row" if self._batched else ""
            raise InvalidArgumentError(
                f"input '{name}' has shape {list(array.shape)}, expected one element{each}"
            )
        elements: list[bytes] = array.ravel().tolist()
        return elements

    def encode(self, returned: Any) -> Any:
        """Put arrays of BYTES in the places of values, if it is a dict. Raises InternalError."""
        if not isinstance(returned, Mapping):
            return returned
        encoded = dict(returned)
        for name, (encoder, several) in self._outputs.items():
            if name in encoded:
                encoded[name] = self._encoded(name, encoded[name], encoder, several)
        return encoded

    def _encoded(self, name: str, value: Any, encoder: "Encoder", several: bool) -> Array:
        where = f"output '{name}'"
        values = [value]
        if self._batched or several:
            if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence | np.ndarray):
                each = "one for each row" if self._batched else "of any length"
                raise InternalError(f"{where}: expected a list, {each}, got {type(value).__name__}")
            values = list(value)
        array = np.empty(len(values), np.object_)
        for row, each_value in enumerate(values):
            at = f"{where}, row {row}" if len(values) > 1 else where
            array[row] = encoder(each_value, at)
        return array.reshape(-1, 1) if self._batched else array


def contents_of(declaration: Declaration, config: ModelConfig) -> Contents | None:
    """Those of a handler that has any. Raises as `Contents`."""
    inputs, outputs = declaration.input_contents().values(), declaration.output_contents().values()
    return Contents(inputs, outputs, config) if inputs or outputs else None


def max_pixels(config: ModelConfig) -> int:
    """What the configuration says of images. Raises ConfigurationError for what is no number of pixels."""
    found = integer(parameter_texts(config), MAX_PIXELS_PARAMETER, MAX_PIXELS, most=_MOST_PIXELS)
    if found == 0:
        raise ConfigurationError(f"parameters['{MAX_PIXELS_PARAMETER}']: expected an integer >= 1, got '0'")
    return found


def _decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"it is not UTF-8: {error}") from error


def _decode_json(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"it is not UTF-8: {error}") from error
    except RecursionError:
        raise InvalidArgumentError("its JSON is nested too deeply") from None
    except ValueError as error:
        raise InvalidArgumentError(f"it is no JSON: {error}; it is {_shown(data)}") from error


def _shown(data: bytes) -> str:
    return repr(data[:_TRUNCATED]) + ("..." if len(data) > _TRUNCATED else "")


Encoder = Callable[[Any, str], bytes]


def _encode_text(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        raise InternalError(f"{where}: expected str, got {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InternalError(f"{where}: it cannot be written in UTF-8: {error}") from error


def _encode_json(value: object, where: str) -> bytes:
    try:
        return _utf8(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InternalError(f"{where}: it has no form in JSON: {error}") from error


def _utf8(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).encode()
    except UnicodeEncodeError:
        # Halves of characters, which only escapes can carry.
        return json.dumps(value, allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if is_torch_tensor(value) or isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is neither a dict, list, str, number, True, False nor None")


def _encode_picture(value: Any, where: str) -> bytes:
    return encode_image(value.cpu().numpy() if is_torch_tensor(value) else value, where)


_ENCODERS: dict[str, Encoder] = {"text": _encode_text, "json": _encode_json, "image": _encode_picture}
