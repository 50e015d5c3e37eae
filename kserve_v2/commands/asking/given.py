"""Inputs of a model as a command line gives them, and as a client takes them."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kserve_v2.commands.command import CommandError, UsageError
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.json_request import tensor_of

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def values_of(operands: Sequence[str], datatypes: Mapping[str, str]) -> dict[str, Any]:
    """Values by name, of NAME=VALUE. One name with several values has them in a list. `datatypes`: of the inputs.
    Raises UsageError, CommandError.
    """
    found: dict[str, list[Any]] = {}
    for operand in operands:
        name, equals, text = operand.partition("=")
        if not equals or not name:
            raise UsageError(f"expected NAME=VALUE, got {operand!r} (see kserve-v2 infer --help)")
        found.setdefault(name, []).append(_value(name, text, datatypes.get(name, "")))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _value(name: str, text: str, datatype: str) -> Any:
    if text == "-":
        return _of_bytes(sys.stdin.buffer.read(), name, datatype, "standard input")
    if text.startswith("@@"):
        text = text[1:]
    elif text.startswith("@"):
        return _of_file(Path(text[1:]), name, datatype)
    return text if datatype == "BYTES" else _literal(text, name, datatype)


def _literal(text: str, name: str, datatype: str) -> Any:
    if not datatype:
        return _own_literal(text)
    try:
        return json.loads(_with_brackets(text))
    except ValueError:
        raise UsageError(
            f"{name}: the model takes {datatype}, so expected a number or lists of numbers as JSON has them, or @FILE, "
            f"got {text!r:.80}"
        ) from None


def _own_literal(text: str) -> Any:
    """What a text is by itself, for an input of which the model does not say what it takes: JSON, numbers with commas
    between them, or else the text. (In quotation marks, all of it is a text of JSON.)
    """
    with suppress(ValueError):
        return json.loads(text)
    with suppress(ValueError):
        values = json.loads(_with_brackets(text))
        if all(type(each) in (int, float) for each in values):
            return values
    return text


def _with_brackets(text: str) -> str:
    """Numbers with commas between them, put in the brackets of a list; any other text as it is."""
    return f"[{text}]" if "," in text and not set(text) & set('[]{}"') else text


def _of_file(path: Path, name: str, datatype: str) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: cannot read {str(path)!r}: {error.strerror}") from None
    kind = path.suffix.lower()
    if kind == ".npy":
        try:
            return np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise UsageError(f"{name}: {str(path)!r} is no array of numpy: {error}") from None
    if kind == ".json":
        try:
            return json.loads(data)
        except ValueError as error:
            raise UsageError(f"{name}: {str(path)!r} is no JSON: {error}") from None
    if kind in _IMAGES and datatype != "BYTES":
        return _image(data, path, name)
    return _of_bytes(data, name, datatype, repr(str(path)))


def _of_bytes(data: bytes, name: str, datatype: str, where: str) -> Any:
    """What is in a file, for an input of bytes as it is."""
    if datatype == "BYTES":
        return data
    try:
        return _literal(data.decode(), name, datatype)
    except UnicodeDecodeError:
        raise UsageError(
            f"{name}: the model takes {datatype or 'something that its metadata does not tell'}, and {where} is no "
            "JSON; files may be .npy, .json or images"
        ) from None


def _image(data: bytes, path: Path, name: str) -> Any:
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - an extra
    except ImportError:
        raise CommandError(
            f"{name}: reading images takes Pillow, which is not installed: pip install pillow"
        ) from None
    try:
        # As it is to be seen.
        return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"{name}: {str(path)!r} is no image that can be read: {error}") from None


def read_request(path: str) -> dict[str, Any]:
    """A request in JSON, as /v2/models/M/infer takes it: a model's sample. Raises UsageError."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        document = json.loads(text)
        inputs = {item["name"]: tensor_of(item) for item in document["inputs"]}
        outputs = [dict(item) for item in document.get("outputs") or ()]
    except OSError as error:
        raise UsageError(f"--request: cannot read {path!r}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, InvalidArgumentError) as error:
        raise UsageError(
            f"--request: {path!r} is no request as /v2/models/MODEL/infer takes it in JSON: {error}"
        ) from None
    return {
        "inputs": inputs,
        "parameters": document.get("parameters") or {},
        "id": str(document.get("id") or ""),
        "outputs": [item["name"] for item in outputs],
        "classes": {
            item["name"]: count
            for item in outputs
            if (count := (item.get("parameters") or {}).get("classification"))
        },
    }


def parameters_of(texts: Sequence[str]) -> dict[str, Any]:
    """Parameters, of NAME=VALUE: numbers, true and false as JSON has them, texts otherwise. Raises UsageError."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--parameter: expected NAME=VALUE, got {text!r}")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        read = read if isinstance(read, bool | int | float | str) else value
        if name in found and found[name] != read:
            raise UsageError(
                f"--parameter: {name} is given twice, as {found[name]} and as {value}: give it once"
            )
        found[name] = read
    return found
