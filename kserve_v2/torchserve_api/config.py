"""TorchServe's configuration: config.properties, `TS_*` in the environment, and the command line over both."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_v2.torchserve_api.addresses import Address, parse_address
from kserve_v2.torchserve_api.config_models import (
    NO_MODELS,
    NONE,
    Models,
    Wanted,
    parse_load_models,
    parse_models,
    parse_snapshot,
)
from kserve_v2.torchserve_api.keys import IGNORED
from kserve_v2.torchserve_api.properties import PropertiesError, parse_properties, substituted

CONFIG_FILE_VARIABLE = "TS_CONFIG_FILE"
_PREFIX = "TS_"
ENVELOPES = ("body", "json", "kserve", "kservev2")
DEFAULT_MAX_BYTES = 6_553_500

_INFERENCE, _MANAGEMENT, _METRICS = (Address("127.0.0.1", port) for port in (8080, 8081, 8082))


class TorchServeConfigError(ValueError):
    """The configuration is wrong. The message names the file or variable, the key, what was expected and what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchServeConfig:
    """What holds for TorchServe's APIs, and for the models that are registered through them. Times in seconds."""

    inference_address: Address = _INFERENCE
    management_address: Address = _MANAGEMENT
    metrics_address: Address = _METRICS
    grpc_inference_address: str = "127.0.0.1"
    grpc_inference_port: int = 7070
    grpc_management_address: str = "127.0.0.1"
    grpc_management_port: int = 7071
    grpc_inference_max_connection_age_ms: int = 0
    grpc_management_max_connection_age_ms: int = 0
    enable_grpc_ssl: bool = False
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    model_store: Path | None = None
    workflow_store: Path | None = None
    load_models: tuple[Wanted, ...] | str = NONE
    models: Models = field(default_factory=lambda: NO_MODELS)
    snapshot: Models | None = None
    """The models of `model_snapshot`: exactly those are loaded. None where there is none."""
    default_workers_per_model: int | None = None
    default_response_timeout: int = 120
    default_startup_timeout: int = 120
    job_queue_size: int = 100
    default_service_handler: str = ""
    service_envelope: str = ""
    install_py_dep_per_model: bool = False
    decode_input_request: bool = True
    limit_max_image_pixels: bool = True

    max_request_size: int = DEFAULT_MAX_BYTES
    max_response_size: int = DEFAULT_MAX_BYTES
    allowed_urls: tuple[re.Pattern[str], ...] = ()
    """Of archives that may be fetched: only where the operator says so."""
    enable_model_api: bool = False
    """Whether clients may register and unregister models."""
    token_authorization: bool = False
    token_expiration_min: int = 60
    cors_allowed_origin: str = ""
    cors_allowed_methods: str = ""
    cors_allowed_headers: str = ""

    enable_metrics_api: bool = True
    metrics_config: Path | None = None
    model_metrics_auto_detect: bool = False
    disable_system_metrics: bool = False
    open_inference_protocol: bool = False

    header_sequence_id: str = "ts_request_sequence_id"
    header_sequence_start: str = "ts_request_sequence_start"
    header_sequence_end: str = "ts_request_sequence_end"


@dataclass(frozen=True, slots=True)
class Given:
    """What stands on the command line. None, or empty, where it says nothing."""

    config_file: Path | None = None
    model_store: Path | None = None
    models: Sequence[str] = ()
    enable_model_api: bool | None = None
    token_authorization: bool | None = None
    workflow_store: Path | None = None


def config_file(given: Given, environ: Mapping[str, str], folder: Path) -> Path | None:
    """The file that is read: of TS_CONFIG_FILE, of the command line, or config.properties in `folder`; None if there is
    none.
    """
    if environ.get(CONFIG_FILE_VARIABLE):
        return Path(environ[CONFIG_FILE_VARIABLE])
    if given.config_file is not None:
        return given.config_file
    beside = folder / "config.properties"
    return beside if beside.is_file() else None


def load_config(given: Given, environ: Mapping[str, str], folder: Path) -> tuple[TorchServeConfig, list[str]]:
    """The configuration, and a line for everything in it that has no effect. Raises TorchServeConfigError."""
    path = config_file(given, environ, folder)
    if path is None:
        return make_config({}, given, environ, "config.properties")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise TorchServeConfigError(f"{path} cannot be read: {reason}") from None
    try:
        properties = parse_properties(text, environ)
    except PropertiesError as error:
        raise TorchServeConfigError(f"{path}: {error}") from None
    return make_config(properties, given, environ, path.name)


def make_config(
    properties: Mapping[str, str], given: Given, environ: Mapping[str, str], file: str
) -> tuple[TorchServeConfig, list[str]]:
    """As `load_config`, of the properties of a file, which errors call `file`."""
    said = {key: (value, f"{file}: {key}") for key, value in properties.items()}
    if properties.get("enable_envvars_config", "").lower() == "true":
        said |= _variables(environ, properties)
    values: dict[str, Any] = {}
    warnings = []
    for key, (text, where) in said.items():
        if not text:
            continue
        if key in _READ:
            name, read = _READ[key]
            try:
                values[name] = read(text)
            except ValueError as error:
                raise TorchServeConfigError(f"{where}: {error}, got {text!r}") from None
        elif key not in _OF_THE_FILE:
            warnings.append(f"{where} is ignored: {IGNORED.get(key) or _unknown(key)}")
    _take_command_line(values, given)
    config = TorchServeConfig(**values)
    _check(config, file)
    return config, warnings


def _unknown(key: str) -> str:
    close = difflib.get_close_matches(key, _READ, n=1)
    return "no such property is known" + (f", did you mean {close[0]}?" if close else "")


def _variables(environ: Mapping[str, str], properties: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The properties that variables of the environment say."""
    found = {}
    may_allow_urls = properties.get("use_env_allowed_urls", "").lower() == "true"
    for name, value in environ.items():
        key = name.removeprefix(_PREFIX).lower()
        if not name.startswith(_PREFIX) or name == CONFIG_FILE_VARIABLE:
            continue
        if key == "allowed_urls" and not may_allow_urls:
            continue
        if key in _READ or key in IGNORED:
            found[key] = (substituted(value, environ), name)
    return found


def _take_command_line(values: dict[str, Any], given: Given) -> None:
    """Let the command line say what it says. Raises TorchServeConfigError."""
    if given.model_store is not None:
        values["model_store"] = given.model_store
    if given.workflow_store is not None:
        values["workflow_store"] = given.workflow_store
    if given.models:
        try:
            values["load_models"] = _load_models(",".join(given.models))
        except ValueError as error:
            raise TorchServeConfigError(f"--models: {error}") from None
        values.pop("snapshot", None)
    if given.enable_model_api is not None:
        values["enable_model_api"] = given.enable_model_api
    if given.token_authorization is not None:
        values["token_authorization"] = given.token_authorization


def _check(config: TorchServeConfig, file: str) -> None:
    """Raise TorchServeConfigError for what does not go together."""
    addresses = (config.inference_address, config.management_address, config.metrics_address)
    encrypted = any(address.tls for address in addresses) or config.enable_grpc_ssl
    if encrypted and (config.certificate_file is None or config.private_key_file is None):
        raise TorchServeConfigError(
            f"{file}: addresses of https, and enable_grpc_ssl, need certificate_file and private_key_file, in PEM"
        )
    wanted = config.load_models != NONE or config.snapshot
    if wanted and config.model_store is None:
        raise TorchServeConfigError(
            "models are to be loaded, and there is no model store: give --model-store DIR, or model_store in "
            f"{file}"
        )


# --- kinds of values ------------------------------------------------------------------------------------------------


def _whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    def read(text: str) -> int:
        expected = f"expected a whole number of at least {low}" + (
            f" and at most {high}" if high is not None else ""
        )
        try:
            value = int(text)
        except ValueError:
            raise ValueError(expected) from None
        if value < low or (high is not None and value > high):
            raise ValueError(expected)
        return value

    return read


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("expected true or false")
    return text.lower() == "true"


def _not(text: str) -> bool:
    return not _boolean(text)


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return text

    return read


def _patterns(text: str) -> tuple[re.Pattern[str], ...]:
    try:
        return tuple(re.compile(each.strip()) for each in text.split(",") if each.strip())
    except re.error as error:
        raise ValueError(f"expected regular expressions, separated by commas: {error}") from None


def _load_models(text: str) -> tuple[Wanted, ...] | str:
    found = parse_load_models([text])
    return found if isinstance(found, str) else tuple(found)


_PORT = _whole_number(0, 65535)

_READ: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    **{name: (name, parse_address) for name in ("inference_address", "management_address", "metrics_address")},
    **{name: (name, str) for name in (
        "grpc_inference_address", "grpc_management_address", "default_service_handler",
        "cors_allowed_origin", "cors_allowed_methods", "cors_allowed_headers",
    )},
    **{name: (name, _PORT) for name in ("grpc_inference_port", "grpc_management_port")},
    **{name: (name, _whole_number(0)) for name in (
        "grpc_inference_max_connection_age_ms", "grpc_management_max_connection_age_ms", "default_workers_per_model",
    )},
    **{name: (name, _whole_number(1)) for name in (
        "default_response_timeout", "default_startup_timeout", "job_queue_size", "max_request_size",
        "max_response_size", "token_expiration_min",
    )},
    **{name: (name, _boolean) for name in (
        "enable_grpc_ssl", "install_py_dep_per_model", "decode_input_request", "limit_max_image_pixels",
        "enable_model_api", "enable_metrics_api", "model_metrics_auto_detect", "disable_system_metrics",
    )},
    **{name: (name, Path) for name in (
        "certificate_file", "private_key_file", "model_store", "workflow_store", "metrics_config",
    )},
    "disable_token_authorization": ("token_authorization", _not),
    "service_envelope": ("service_envelope", _choice(*ENVELOPES)),
    "load_models": ("load_models", _load_models),
    "models": ("models", parse_models),
    "model_snapshot": ("snapshot", parse_snapshot),
    "allowed_urls": ("allowed_urls", _patterns),
    "ts_open_inference_protocol": ("open_inference_protocol", _boolean),
    "ts_header_key_sequence_id": ("header_sequence_id", str),
    "ts_header_key_sequence_start": ("header_sequence_start", str),
    "ts_header_key_sequence_end": ("header_sequence_end", str),
}  # fmt: skip
"""By key: the field of the configuration, and what reads it."""

_OF_THE_FILE = frozenset({"enable_envvars_config", "use_env_allowed_urls"})
"""What says how the rest is read."""
