"""What config.properties says of models: `load_models`, `models` and `model_snapshot`. The latter two are JSON, which
is read as such and never as anything that could run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

NONE, ALL = "none", "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSettings:
    """What is said of one version of a model; None where nothing is. Times in seconds, `max_batch_delay` in
    milliseconds.
    """

    default_version: bool | None = None
    mar_name: str | None = None
    min_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay: int | None = None
    response_timeout: int | None = None
    startup_timeout: int | None = None


Models = Mapping[str, Mapping[str, VersionSettings]]
"""By model and version."""

NO_MODELS: Models = {}

_KEYS = {
    "defaultVersion": ("default_version", bool),
    "marName": ("mar_name", str),
    "minWorkers": ("min_workers", int),
    "maxWorkers": ("max_workers", int),
    "batchSize": ("batch_size", int),
    "maxBatchDelay": ("max_batch_delay", int),
    "responseTimeout": ("response_timeout", int),
    "startupTimeout": ("startup_timeout", int),
}
# TorchServe's numbers have 32 bits.
_MOST = 2**31 - 1
_EXPECTED = {bool: "true or false", str: "a text", int: "a whole number"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that is to be registered at the start. `archive`: its name in the model store; "" for name and version as
    they are in `settings`. `name`: "" for that of the archive.
    """

    archive: str
    name: str = ""
    version: str = ""
    settings: VersionSettings = VersionSettings()


def parse_models(text: str) -> Models:
    """What `models` says. Raises ValueError, with the place."""
    return _models(_object(text))


def parse_snapshot(text: str) -> Models:
    """The models of `model_snapshot`, which are those to be loaded. Raises ValueError, with the place."""
    document = _object(text)
    if "models" not in document:
        raise ValueError("expected a member models")
    models = _models(document["models"])
    for name, versions in models.items():
        for version, settings in versions.items():
            if not settings.mar_name:
                raise ValueError(f"models.{name}.{version}: expected marName, the archive in the model store")
    return models


def parse_load_models(texts: list[str]) -> list[Wanted] | str:
    """`none`, `all`, or archives with names in front or not. Raises ValueError."""
    entries = [entry.strip() for text in texts for entry in text.split(",")]
    entries = [entry for entry in entries if entry]
    if not entries or NONE in entries:
        return NONE
    if ALL in entries:
        return ALL
    wanted = []
    for entry in entries:
        name, equals, archive = entry.rpartition("=")
        if not archive.strip() or (equals and not name.strip()):
            raise ValueError(f"expected {ALL}, {NONE}, or FILE.mar or NAME=FILE.mar, got {entry!r}")
        wanted.append(Wanted(archive.strip(), name.strip()))
    return wanted


def snapshot_models(models: Models) -> list[Wanted]:
    """The models of a snapshot, the default version of each first."""
    wanted = []
    for name, versions in models.items():
        ordered = sorted(versions.items(), key=lambda each: not each[1].default_version)
        wanted += [Wanted(settings.mar_name or "", name, version, settings) for version, settings in ordered]
    return wanted


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - a value that is wrong, as any other
    return document


def _models(document: Any) -> Models:
    if not isinstance(document, dict):
        raise ValueError("models: expected an object with the models by name")  # noqa: TRY004 - as above
    models: dict[str, dict[str, VersionSettings]] = {}
    for name, versions in document.items():
        if not isinstance(versions, dict):
            raise ValueError(  # noqa: TRY004 - as above
                f"{name}: expected an object with its versions, such as {{'1.0': {{…}}}}"
            )
        models[name] = {version: _settings(said, f"{name}.{version}") for version, said in versions.items()}
    return models


def _settings(said: Any, where: str) -> VersionSettings:
    if not isinstance(said, dict):
        raise ValueError(  # noqa: TRY004 - as above
            f"{where}: expected an object, such as {{'minWorkers': 1}}"
        )
    values: dict[str, Any] = {}
    for key, (field, kind) in _KEYS.items():
        value = said.get(key)
        if value is None:
            continue
        if type(value) is not kind or (type(value) is int and not 0 <= value <= _MOST):
            raise ValueError(f"{where}.{key}: expected {_EXPECTED[kind]}, got {value!r}")
        values[field] = value
    return VersionSettings(**values)


def over(settings: VersionSettings, other: VersionSettings) -> VersionSettings:
    """What `settings` says, and behind it `other`."""
    pairs = {
        each.name: (getattr(settings, each.name), getattr(other, each.name)) for each in fields(settings)
    }
    return VersionSettings(
        **{name: second if first is None else first for name, (first, second) in pairs.items()}
    )
