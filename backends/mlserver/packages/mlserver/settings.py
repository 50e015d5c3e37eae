"""Settings of a server and of its models, with what the environment says where a file says nothing."""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr

from .types import MetadataTensor
from .version import __version__

ENV_PREFIX_SETTINGS = "MLSERVER_"
ENV_PREFIX_MODEL_SETTINGS = "MLSERVER_MODEL_"


def from_environment(kind: type[BaseModel], prefix: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """What the environment says of the fields of some settings: JSON where a field is no text."""
    found: dict[str, Any] = {}
    for name in kind.model_fields:
        text = environ.get(f"{prefix}{name.removesuffix('_')}".upper())
        if text is not None:
            found[name.removesuffix("_")] = _value(text)
    return found


def _value(text: str) -> Any:
    # pydantic makes numbers and truth values of texts; objects and lists have to be read.
    return json.loads(text) if text.lstrip()[:1] in ("{", "[") else text


class _Settings(BaseModel):
    """Of all kinds: what is not given comes from the environment."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=(), validate_assignment=False)

    def __init__(self, **given: Any) -> None:
        super().__init__(**(from_environment(type(self), self._prefix(), os.environ) | given))

    @classmethod
    def _prefix(cls) -> str:
        return ENV_PREFIX_SETTINGS

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Any:
        """As pydantic's, over what the environment says."""
        return cls(**obj) if isinstance(obj, Mapping) else super().model_validate(obj, **options)


class CORSSettings(_Settings):
    """Which other sites may ask."""

    allow_origins: list[str] | None = []
    allow_origin_regex: str | None = None
    allow_credentials: bool | None = False
    allow_methods: list[str] | None = ["GET"]
    allow_headers: list[str] | None = []
    expose_headers: list[str] | None = []
    max_age: int | None = 600


class Settings(_Settings):
    """Of a server, for code that makes some; the server that runs has its own."""

    debug: bool = False
    parallel_workers: int = 1
    parallel_workers_timeout: int = 5
    environments_dir: str = ""
    model_repository_implementation: str | None = None
    model_repository_root: str = "."
    model_repository_implementation_args: dict[str, Any] = {}
    load_models_at_startup: bool = True
    server_name: str = "mlserver"
    server_version: str = __version__
    extensions: list[str] = []
    host: str = "0.0.0.0"
    http_port: int = 8080
    root_path: str = ""
    grpc_port: int = 8081
    grpc_max_message_length: int | None = None
    cors_settings: CORSSettings | None = None
    metrics_endpoint: str | None = "/metrics"
    metrics_port: int = 8082
    metrics_rest_server_prefix: str = "rest_server"
    metrics_dir: str = ""
    use_structured_logging: bool = False
    logging_settings: str | dict[str, Any] | None = None
    kafka_enabled: bool = False
    kafka_servers: str = "localhost:9092"
    kafka_topic_input: str = "mlserver-input"
    kafka_topic_output: str = "mlserver-output"
    tracing_server: str | None = None
    cache_enabled: bool = False
    cache_size: int = 100
    gzip_enabled: bool = True


class ModelParameters(_Settings):
    """What differs from version to version of a model. Other members are kept."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    uri: str | None = None
    version: str | None = None
    environment_path: str | None = None
    environment_tarball: str | None = None
    inference_pool_gid: str | None = None
    autogenerate_inference_pool_gid: bool = False
    format: str | None = None
    content_type: str | None = None
    extra: dict[str, Any] | None = {}

    @classmethod
    def _prefix(cls) -> str:
        return ENV_PREFIX_MODEL_SETTINGS


class ModelSettings(_Settings):
    """Of a model, as its `model-settings.json` has them. `_source`: that file, if they are from one."""

    implementation_: Any = Field(
        default="",
        validation_alias=AliasChoices("implementation", "implementation_"),
        serialization_alias="implementation",
    )
    name: str = ""
    platform: str = ""
    versions: list[str] = []
    inputs: list[MetadataTensor] = []
    outputs: list[MetadataTensor] = []
    parallel_workers: int | None = None
    warm_workers: bool = False
    max_batch_size: int = 0
    max_batch_time: float = 0.0
    parameters: ModelParameters | None = None
    cache_enabled: bool = False

    _source: str | None = PrivateAttr(default=None)

    def __init__(self, **given: Any) -> None:
        source = given.pop("_source", None)
        kind = given.get("implementation")
        if isinstance(kind, type):
            given["implementation"] = f"{kind.__module__}.{kind.__name__}"
        super().__init__(**given)
        self._source = source

    @classmethod
    def _prefix(cls) -> str:
        return ENV_PREFIX_MODEL_SETTINGS

    @classmethod
    def parse_file(cls, path: str | Path, **_: Any) -> "ModelSettings":
        """Those of a file."""
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**read, _source=str(path))

    @property
    def version(self) -> str | None:
        """Of the model."""
        return self.parameters.version if self.parameters is not None else None

    @property
    def implementation(self) -> Any:
        """The model's class, which is imported for this."""
        module, _, member = self.implementation_.rpartition(".")
        if self._source:
            with _ImportedFrom(str(Path(self._source).parent)):
                return getattr(importlib.import_module(module), member)
        return getattr(importlib.import_module(module), member)


class _ImportedFrom:
    """Modules are looked for in a folder before anywhere else, and afterwards behind everything else: what it has must
    not come before the standard library whenever that imports something.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        sys.path.insert(0, self._folder)

    def __exit__(self, *_: object) -> None:
        sys.path.remove(self._folder)
        if self._folder not in sys.path:
            sys.path.append(self._folder)
