"""Answers of models for people, and for programs."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kserve_v2.client import InferResult, InvalidArgumentError
from kserve_v2.client.rest_codec import numbers
from kserve_v2.commands.asking.tables import show_table
from kserve_v2.commands.command import CommandError
from kserve_v2.commands.output import say
from kserve_v2.plain_text import in_a_line
from kserve_v2.tensors.datatypes import BF16, BY_DTYPE, BYTES, FP32, Array
from kserve_v2.tensors.json_request import text_or_base64

# Values of one output or of a row of it, rows, and characters of a text, that people get to see.
_MOST_VALUES = 12
_MOST_ROWS = 8
_MOST_CHARACTERS = 400
_BAR = 20


def show(result: InferResult, classes: Iterable[str], environ: Mapping[str, str]) -> None:
    """Print an answer: a table of the outputs, and one for each output of which there are `classes`."""
    ranked = set(classes)
    rows = []
    for name, array in result.items():
        if name not in ranked:
            first, *others = _values(array)
            rows.append([name, BY_DTYPE[array.dtype].name, _shape(array), first])
            rows += [["", "", "", line] for line in others]
    say(in_a_line(f"{result.model_name} version {result.model_version}") + _parameters(result))
    if rows:
        show_table(("OUTPUT", "DATATYPE", "SHAPE", "VALUES"), rows, environ)
    for name in result:
        if name in ranked:
            _show_classes(name, result, environ)


def _parameters(result: InferResult) -> str:
    shown = ", ".join(f"{name}={value}" for name, value in result.parameters.items())
    return in_a_line(f" ({shown})") if shown else ""


def _show_classes(name: str, result: InferResult, environ: Mapping[str, str]) -> None:
    rows = []
    listed = result.classes(name)
    # Probabilities have a length; of other scores nobody knows what is much.
    likely = all(0 <= each.value <= 1 for row in listed for each in row)
    for number, row in enumerate(listed):
        for each in row:
            label = each.label or f"class {each.index}"
            bar = "█" * round(each.value * _BAR) if likely else ""
            rows.append([*([str(number)] if len(listed) > 1 else ()), label, f"{each.value:.6g}", bar])
    head = [*(["ROW"] if len(listed) > 1 else ()), name, "VALUE", ""]
    show_table(head, rows, environ, numbers=(len(head) - 2,))


def _shape(array: Array) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _values(array: Array) -> list[str]:
    """In lines: one for each row, where there are several short ones."""
    rows = array.reshape(len(array), -1) if array.ndim > 1 and array.size else array.reshape(1, -1)
    if not 1 < rows.shape[1] <= _MOST_VALUES:
        rows = array.reshape(1, -1)
    lines = [", ".join(_value(element) for element in row[:_MOST_VALUES]) for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(f"… ({len(rows)} rows in all)")
    elif rows.shape[1] > _MOST_VALUES:
        lines[0] += f", … ({rows.size} in all)"
    return lines


def _value(element: Any) -> str:
    if isinstance(element, bytes):
        try:
            text = element.decode()
        except UnicodeDecodeError:
            return f"{len(element)} bytes"
        return (
            text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}… ({len(text)} characters)"
        )
    if isinstance(element, np.integer | np.bool_):
        return str(element).lower() if isinstance(element, np.bool_) else str(element)
    return f"{float(element):.6g}"


def as_json(result: InferResult) -> str:
    """An answer in one line, as REST has it. Bytes that are no text are objects with base64."""
    document: dict[str, Any] = {"model_name": result.model_name, "model_version": result.model_version}
    if result.id:
        document["id"] = result.id
    if result.parameters:
        document["parameters"] = result.parameters
    document["outputs"] = [
        {
            "name": name,
            "datatype": BY_DTYPE[array.dtype].name,
            "shape": list(array.shape),
            "data": _json_data(array),
        }
        for name, array in result.items()
    ]
    return json.dumps(document, ensure_ascii=False)


def _json_data(array: Array) -> list[Any]:
    flat = array.reshape(-1)
    return [text_or_base64(element) for element in flat] if array.dtype == BYTES.dtype else numbers(flat)


def save(result: InferResult, path: str) -> None:
    """Write the outputs into a file of numpy's, without pickles: texts as such, BF16 as FP32. Raises CommandError."""
    arrays = {name: _plain(name, result) for name in result}
    try:
        with Path(path).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise CommandError(f"--save: cannot write {path!r}: {error.strerror}") from None


def _plain(name: str, result: InferResult) -> Array:
    array = result[name]
    if array.dtype == BF16.dtype:
        return array.astype(FP32.dtype)
    if array.dtype != BYTES.dtype:
        return array
    try:
        texts = result.text(name)
    except InvalidArgumentError:
        texts = None
    if texts is None or any(text.endswith("\0") for text in texts.flat):
        raise CommandError(
            f"--save: output '{name}' has bytes that an .npz file cannot hold without a pickle; --json writes them"
        )
    return texts.astype(np.str_)
