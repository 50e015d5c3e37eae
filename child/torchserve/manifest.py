"""`MAR-INF/MANIFEST.json`: what an archive says of its model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLACE = "MAR-INF/MANIFEST.json"
"""Where it lies. A file `manifest.json` in another place, or case, is one of the model's own."""

FOLDER = "MAR-INF"
DEFAULT_VERSION = "1.0"

_MOST_BYTES = 1024 * 1024
_RUNTIMES = ("python", "python3")


class ManifestError(Exception):
    """What is wrong with it, for people."""


@dataclass(frozen=True)
class Manifest:
    """ "" for what it does not say. File names are relative to the model's folder. `whole`: all of it."""

    model_name: str = ""
    model_version: str = ""
    handler: str = ""
    model_file: str = ""
    serialized_file: str = ""
    requirements_file: str = ""
    config_file: str = ""
    envelope: str = ""
    whole: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """That of an unpacked archive; without one, nothing is said. Raises ManifestError."""
    try:
        with (folder / PLACE).open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Manifest()
    except OSError as error:
        raise ManifestError(f"{PLACE} cannot be read: {error.strerror}") from error
    return parse_manifest(text)


def parse_manifest(text: bytes) -> Manifest:
    """Raises ManifestError for what is no manifest, and for a runtime that there is none for here."""
    if len(text) > _MOST_BYTES:
        raise ManifestError(f"{PLACE} is larger than {_MOST_BYTES} bytes")
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{PLACE} is not JSON: {error}") from error
    if not isinstance(whole, dict):
        raise ManifestError(f"{PLACE}: expected an object, got {_kind(whole)}")
    model = whole.get("model") or {}
    if not isinstance(model, dict):
        raise ManifestError(f"{PLACE}: 'model' is {_kind(model)}, expected an object")
    runtime = whole.get("runtime") or "python"
    if runtime not in _RUNTIMES:
        raise ManifestError(
            f"{PLACE}: runtime {runtime!r}: expected python; there is none for C++ (LSP) here"
        )
    return Manifest(
        model_name=_text(model, "modelName"),
        model_version=_text(model, "modelVersion"),
        handler=_text(model, "handler"),
        model_file=_file(model, "modelFile"),
        serialized_file=_file(model, "serializedFile"),
        requirements_file=_file(model, "requirementsFile"),
        config_file=_file(model, "configFile"),
        envelope=_text(model, "envelope"),
        whole=whole,
    )


def _text(model: Mapping[str, Any], key: str) -> str:
    value = model.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ManifestError(f"{PLACE}: model.{key} is {_kind(value)}, expected a string")
    return value


def _file(model: Mapping[str, Any], key: str) -> str:
    """A file of the archive's own: nothing else is ever opened because of a name."""
    value = _text(model, key)
    parts = Path(value).parts
    if value and (Path(value).is_absolute() or ".." in parts or "\0" in value or "\\" in value):
        raise ManifestError(f"{PLACE}: model.{key} {value!r} leads out of the archive")
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
