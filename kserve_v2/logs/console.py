"""What the server prints for the person who started it: tables and a line to paste, as text."""

import json
import re
import shlex
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from math import prod
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from kserve_v2.messages import IndexEntry, ModelMetadata, TensorMetadata
from kserve_v2.settings.settings import OPTIONS, Settings

# How long stdout may take. What handlers print goes there, too, and waits for whoever reads it; the server does not.
_PATIENCE_S = 1.0

_MAX_EXAMPLE_ELEMENTS = 64
# What to do stands at the end of a reason.
_MAX_REASON_LINES = 8
# What libraries put into their messages to colour them, and whatever else would move a terminal's cursor.
_CONTROLS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f-\x9f]")
_REASON_HINT = "… (the repository index has the whole reason)"

# An example value of each datatype that JSON can carry; FP16 and BF16 travel as binary data only.
_EXAMPLE_VALUES: dict[str, object] = {
    "BOOL": False,
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"), 0),
    **dict.fromkeys(("FP32", "FP64"), 0.0),
    "BYTES": "text",
}
# An example of what a handler decodes; for an image there is none that anybody would like to read.
_EXAMPLE_CONTENTS = {"text": "text", "json": "{}"}


def say(text: str) -> bool:
    """Print on stdout. False: nobody reads it, and it comes when somebody does, or never."""
    return _in_time(lambda: print(text, flush=True))


def flush() -> bool:
    """Write what stdout and stderr hold back. False: nobody reads it."""

    def flush_both() -> None:
        sys.stdout.flush()
        sys.stderr.flush()

    return _in_time(flush_both)


def _in_time(work: Callable[[], None]) -> bool:
    thread = threading.Thread(target=work, name="console", daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return not thread.is_alive()


def settings_table(settings: Settings) -> str:
    """The effective value of every option."""
    rows = [(option.name, option.kind.show(getattr(settings, option.name))) for option in OPTIONS]
    return _table(("Option", "Value"), rows)


def models_table(entries: Sequence[IndexEntry], width: int = 120) -> str:
    """Every model with version, state and reason, and notes where there are any, wrapped to lines of about `width`
    characters.
    """
    header: tuple[str, ...] = ("Model", "Version", "State", "Reason")
    rows: list[tuple[str, ...]] = [
        (entry.name, entry.version or "-", entry.state or "-") for entry in entries
    ]
    if any(entry.note for entry in entries):
        header = (*header[:-1], "Notes", header[-1])
        rows = [(*row, entry.note) for row, entry in zip(rows, entries, strict=True)]
    frame = 3 * len(header) + 1
    used = sum(max(len(row[column]) for row in (header, *rows)) for column in range(len(header) - 1)) + frame
    reasons = [_shorten(entry.reason, max(width - used, 40)) for entry in entries]
    return _table(header, [(*row, reason) for row, reason in zip(rows, reasons, strict=True)])


def ready_banner(entries: Sequence[IndexEntry], urls: Mapping[str, str], curl_line: str | None) -> str:
    """What stands on the terminal once the server answers: models, URLs by name and a request to paste."""
    parts = [models_table(entries) if entries else "There are no models in the repository."]
    if failed := dict.fromkeys(entry.name for entry in entries if entry.state == "UNAVAILABLE"):
        parts.append(
            f"Not loaded, for the reasons above: {', '.join(failed)}. The others are served; the server says that it "
            "is not ready unless --strict-readiness is false. --exit-on-error ends the start instead."
        )
    if urls:
        name_width = max(map(len, urls))
        parts.append("\n".join(f"{name:<{name_width}}  {url}" for name, url in urls.items()))
    if curl_line is not None:
        parts.append(f"Try it:\n{curl_line}")
    return "\n\n".join(parts)


def example_curl(
    http_url: str,
    metadata: ModelMetadata,
    directory: Path,
    *,
    in_sequence: bool = False,
    contents: Mapping[str, str] = MappingProxyType({}),
) -> str | None:
    """A command to paste into a shell that sends one request to a model, or None where it would get too long, or need
    an image.

    `directory`: the model's own; a `sample_request.json` in it is sent. Otherwise the request is all zeros, and if the
    model's requests belong to sequences, which is `in_sequence`, it is a whole one. `contents`: what is in BYTES
    inputs, by name: `image`, `text` or `json`.
    """
    sample = directory / "sample_request.json"
    if sample.is_file():
        body = "@" + _path_from_here(sample.resolve())
    else:
        inputs = [_example_input(tensor, contents.get(tensor.name, "text")) for tensor in metadata.inputs]
        if not inputs or None in inputs:
            return None
        step = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}
        request = {"parameters": step, "inputs": inputs} if in_sequence else {"inputs": inputs}
        body = json.dumps(request, separators=(",", ":"))
    url = f"{http_url}/v2/models/{quote(metadata.name, safe='')}/infer"
    return f"curl -s {shlex.quote(url)} -d {shlex.quote(body)}"


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


def printable(text: str) -> str:
    """A text of a library without what would move a terminal's cursor."""
    return _CONTROLS.sub("", text)


def _shorten(reason: str, width: int) -> str:
    reason = printable(reason)
    lines = [line for paragraph in reason.splitlines() for line in textwrap.wrap(paragraph, width)]
    if len(lines) > _MAX_REASON_LINES:
        lines = [*lines[: _MAX_REASON_LINES - 1], _REASON_HINT]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with frame and aligned columns; a cell may have several lines."""
    cells = [[cell.split("\n") for cell in row] for row in (header, *rows)]
    widths = [max(len(line) for row in cells for line in row[column]) for column in range(len(header))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)) + " |"
        for row in cells
        for texts in zip_longest(*row, fillvalue="")
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule] if rows else [rule, lines[0], rule])
