"""MLServer's settings of a server: the `settings.json` of a folder with its models, and its environment variables. They
are defaults of ours: what is said in our own words outweighs them.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kserve_v2.regular_files import read_regular
from kserve_v2.settings.options import SettingsError

FILE = "settings.json"
_ENVIRONMENT = "MLSERVER_"
_OF_MODELS = "MLSERVER_MODEL_"
_MAX_BYTES = 1024 * 1024

Options = dict[str, list[str]]


def _named(*options: str) -> Callable[[Any], Options]:
    return lambda value: {option: [str(value)] for option in options}


def _if_true(option: str, text: str) -> Callable[[Any], Options]:
    return lambda value: {option: [text]} if _true(value) else {}


def _true(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1")


_KEYS: Mapping[str, Callable[[Any], Options]] = {
    "host": _named("http_address", "grpc_address", "metrics_address"),
    "http_port": _named("http_port"),
    "grpc_port": _named("grpc_port"),
    "metrics_port": _named("metrics_port"),
    "use_structured_logging": _if_true("log_format", "json"),
    "debug": _if_true("log_verbose", "1"),
    "load_models_at_startup": lambda value: {} if _true(value) else {"model_control_mode": ["explicit"]},
    "cors_settings": lambda value: {"http_cors_allow_origin": list(value.get("allow_origins") or ())},
    "metrics_endpoint": lambda value: {} if value else {"allow_metrics": ["false"]},
}
"""What becomes of each key."""

_SERVED = frozenset(
    {"parallel_workers", "model_repository_root", "server_name", "parallel_workers_timeout", "gzip_enabled"}
)
"""Keys that matter elsewhere, or that say nothing which is not so anyway."""

_REFUSED = {
    "kafka_enabled": "requests by Kafka are not served",
    "model_repository_implementation": "models are found by their model-settings.json, and in no other way",
    "tracing_server": "traces are sent by --trace-config",
    "cache_enabled": "answers have an id of their own each, and are not kept",
    "root_path": "the server answers at the root: have the proxy in front take the prefix off",
}
"""Keys with which a server would do something else than it was told, unless their values are false."""


def defaults(folders: Iterable[Path], environ: Mapping[str, str]) -> tuple[Options, tuple[str, ...]]:
    """What is said of our options, by name, and a warning for each key without effect. Raises SettingsError for what
    must not be ignored.
    """
    found = {
        name.removeprefix(_ENVIRONMENT).lower(): _read_value(text)
        for name, text in environ.items()
        if name.startswith(_ENVIRONMENT) and not name.startswith(_OF_MODELS)
    }
    where = dict.fromkeys(found, "the environment")
    files = [folder / FILE for folder in folders if (folder / FILE).is_file()]
    if not found and not files:
        return {}, ()
    ours = [file for file in files if _has_models(file.parent)]
    if not ours:
        return {}, ()
    for file in ours:
        read = _read(file)
        found |= read
        where |= dict.fromkeys(read, str(file))
    return _options(found, where)


def _options(found: Mapping[str, Any], where: Mapping[str, str]) -> tuple[Options, tuple[str, ...]]:
    options: Options = {}
    warnings: list[str] = []
    for key, value in found.items():
        if key in _REFUSED and value and not str(value).lower() == "false":
            raise SettingsError(f"{where[key]}: {key} is not supported: {_REFUSED[key]}")
        if key in _KEYS:
            try:
                options |= _KEYS[key](value)
            except AttributeError:
                raise SettingsError(
                    f"{where[key]}: {key}: expected an object, got {json.dumps(value)}"
                ) from None
        elif key not in _REFUSED and key not in _SERVED and value is not None:
            warnings.append(f"{where[key]}: {key} has no effect")
    return options, tuple(warnings)


def _has_models(folder: Path) -> bool:
    from kserve_v2.repository.locations.mlserver import settings_folders  # noqa: PLC0415 - not for --help

    return next(iter(settings_folders(folder)), None) is not None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(read_regular(file, _MAX_BYTES))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{file}: is no JSON: {error}") from None
    if not isinstance(read, dict):
        raise SettingsError(f"{file}: expected a JSON object")
    return read


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def folders_of(repositories: Sequence[object]) -> list[Path]:
    """Those repositories that are folders of this machine."""
    return [each for each in repositories if isinstance(each, Path)]
