"""How one option of the server is read: its kind, its flag and its environment variable.

A value comes as text, from the command line or the environment, or as a Python value from a caller; all pass
the same check.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from kserve_v2.caching import config as caching
from kserve_v2.caching.config import CacheConfig, parse_cache_config
from kserve_v2.net.repository_url import SCHEMES, RepositoryUrl
from kserve_v2.net.unix_socket import unix_path
from kserve_v2.tensors import written
from kserve_v2.tensors.written import WrittenTensor, read_tensor, split_tensors
from kserve_v2.tracing.config import EXPECTED, TraceConfig, parse_trace_config

T = TypeVar("T")

# However it is misspelt.
_PASSWORD = re.compile(r"((?:pass?|pw)\w*=)[^,']*")

ENVIRONMENT_PREFIX = "KSERVE_V2_"
CLIENT_VARIABLES = frozenset({"KSERVE_V2_URL", "KSERVE_V2_TOKEN"})
"""Those of the commands that ask a running server."""


BackendConfig = Mapping[str, Mapping[str, str]]
"""Backend name to its settings; the name "" stands for every backend."""

Resource = tuple[str, int, int | None]
"""What executions share: its name, how many units there are, and the device that has them, None for each of them."""


Sizes = tuple[tuple[str, int], ...]
"""Bytes by device."""

AUTO = "auto"
"""As many as there is room for."""


class SettingsError(ValueError):
    """An option is wrong. The message is one line that names the option, its value and what was expected."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value.

    `read` takes every text that was given (the last one counts unless the option may be repeated) and raises
    ValueError where it is none of this kind. `accepts` is the check of a value, wherever it comes from. `show` writes a
    value as a user would. `comma_separated`: one text in the environment holds several. `write`: the texts that `read`
    makes the value of again, where these are others than what `show` writes; they may hold passwords.
    """

    metavar: str
    expected: str
    read: Callable[[Sequence[str]], T]
    accepts: Callable[[T], bool]
    show: Callable[[T], str] = str
    comma_separated: bool = False
    write: Callable[[T], Sequence[str]] | None = None

    def texts(self, value: T) -> list[str]:
        """What `parse` makes `value` of."""
        return [self.show(value)] if self.write is None else [*self.write(value)]

    def parse(self, texts: Sequence[str]) -> T:
        """The value that `texts` stand for. Raises ValueError with what was expected and what came."""
        # Of a text with a password it is not repeated: what is said here may end in a log.
        shown = _PASSWORD.sub(r"\1***", ", ".join(map(repr, texts)))
        try:
            value = self.read(texts)
        except ValueError:
            raise ValueError(f"expected {self.expected}, got {shown}") from None
        self.check(value, shown)
        return value

    def check(self, value: T, shown: str) -> None:
        """Raise ValueError if `value` is not of this kind."""
        if not self.accepts(value):
            raise ValueError(f"expected {self.expected}, got {shown}")


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """One row of the table of options. `name` is the field of Settings; flag and variable follow from it."""

    default: T
    kind: Kind[T]
    group: str
    help: str
    aliases: tuple[str, ...] = ()
    name: str = ""

    @property
    def flag(self) -> str:
        """The spelling on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable that stands in for the flag."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    def from_flag(self, texts: Sequence[str]) -> T:
        """The value given by flags. Raises SettingsError."""
        return self._parse(self.flag, texts)

    def from_variable(self, text: str) -> T:
        """The value given by the environment. Raises SettingsError."""
        return self._parse(self.variable, text.split(",") if self.kind.comma_separated else [text])

    def check(self, value: T) -> None:
        """Raise SettingsError if a caller's value does not fit."""
        try:
            self.kind.check(value, repr(value))
        except ValueError as error:
            raise SettingsError(f"{self.name}: {error}") from None

    def _parse(self, source: str, texts: Sequence[str]) -> T:
        try:
            return self.kind.parse(texts)
        except ValueError as error:
            raise SettingsError(f"{source}: {error}") from None


def whole_number(low: int, high: int | None = None) -> Kind[int]:
    """A whole number from `low` to `high`, both included."""
    return Kind(
        metavar="N",
        expected=f"a whole number from {low} to {high}"
        if high is not None
        else f"a whole number of at least {low}",
        read=lambda texts: int(texts[-1]),
        accepts=lambda value: type(value) is int and low <= value and (high is None or value <= high),
    )


def choice(names: Sequence[str], synonyms: Mapping[str, str] = MappingProxyType({})) -> Kind[str]:
    """One of `names`. `synonyms`: Triton's spellings of them."""
    expected = " or ".join(map(repr, names))
    return Kind(
        metavar="|".join(names),
        expected=expected,
        read=lambda texts: synonyms.get(texts[-1], texts[-1]),
        accepts=lambda value: value in names,
    )


def _read_boolean(texts: Sequence[str]) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    word = texts[-1].lower()
    if word not in words:
        raise ValueError(word)
    return words[word]


def _read_path(text: str) -> Path:
    if not text or "://" in text:
        raise ValueError(text)
    return Path(text)


def _read_repository(text: str) -> Path | RepositoryUrl:
    return RepositoryUrl.parse(text) if "://" in text else _read_path(text)


def _read_backend_config(texts: Sequence[str]) -> BackendConfig:
    """Read `NAME,key=value`. More names and pairs may follow; a pair without a name is for every backend."""
    settings: dict[str, dict[str, str]] = {}
    for text in texts:
        if "=" not in text:
            raise ValueError(text)
        backend = ""
        for part in text.split(","):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals:
                backend = key
            elif key:
                settings.setdefault(backend, {})[key] = value
            else:
                raise ValueError(text)
    return freeze(settings)


def _is_backend_config(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(settings, Mapping) for settings in value.values())


def freeze(settings: Mapping[str, Mapping[str, str]]) -> BackendConfig:
    """A copy that nobody can change."""
    return MappingProxyType({backend: MappingProxyType(dict(pairs)) for backend, pairs in settings.items()})


NO_BACKEND_CONFIG: BackendConfig = freeze({})


def _backend_config_texts(value: BackendConfig) -> list[str]:
    return [f"{backend},{key}={text}" for backend, pairs in value.items() for key, text in pairs.items()]


TEXT: Kind[str] = Kind("TEXT", "text", lambda texts: texts[-1], lambda value: isinstance(value, str))


def _is_address(value: object) -> bool:
    if not isinstance(value, str) or value.startswith("unix-abstract:") or any(c.isspace() for c in value):
        return False
    path = unix_path(value)
    return bool(value) and "/" not in value if path is None else bool(path)


ADDRESS: Kind[str] = Kind(
    "HOST",
    "an address or host name without a port, or unix:PATH",
    lambda texts: texts[-1],
    _is_address,
)
PORT = whole_number(0, 65535)
_MAX_PROCESSES = 256
PROCESSES: Kind[int | str] = Kind(
    "N|auto",
    f"a whole number from 1 to {_MAX_PROCESSES}, or auto",
    lambda texts: AUTO if texts[-1].strip().lower() == AUTO else int(texts[-1]),
    lambda value: value == AUTO or (type(value) is int and 1 <= value <= _MAX_PROCESSES),
)
BOOLEAN: Kind[bool] = Kind(
    "true|false",
    "true, false, 1 or 0",
    _read_boolean,
    lambda value: isinstance(value, bool),
    lambda value: "true" if value else "false",
)
FILE: Kind[Path | None] = Kind(
    "FILE",
    "a local file",
    lambda texts: _read_path(texts[-1]) if texts[-1] else None,
    lambda value: value is None or isinstance(value, Path),
    lambda value: str(value or ""),
)
DIRECTORY: Kind[Path | None] = Kind(
    "DIR",
    "a local directory",
    lambda texts: _read_path(texts[-1]) if texts[-1] else None,
    lambda value: value is None or isinstance(value, Path),
    lambda value: str(value or ""),
)
REPOSITORIES: Kind[tuple[Path | RepositoryUrl, ...]] = Kind(
    "DIR|URL",
    f"a local directory, or a URL with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}",
    lambda texts: tuple(_read_repository(text.strip()) for text in texts),
    lambda value: isinstance(value, tuple) and all(isinstance(each, Path | RepositoryUrl) for each in value),
    lambda value: " ".join(map(str, value)),
    comma_separated=True,
    write=lambda value: [each.full if isinstance(each, RepositoryUrl) else str(each) for each in value],
)
NAMES: Kind[tuple[str, ...]] = Kind(
    "NAME",
    "the name of a model",
    lambda texts: tuple(text.strip() for text in texts),
    lambda value: isinstance(value, tuple) and all(isinstance(name, str) and name != "" for name in value),
    " ".join,
    comma_separated=True,
    write=list,
)
MODELS: Kind[tuple[str, ...]] = Kind(
    "[NAME=]PATH",
    "a model's file or folder, or package.module:Class, with NAME= in front or not",
    lambda texts: tuple(text.strip() for text in texts),
    lambda value: isinstance(value, tuple) and all(isinstance(each, str) and each != "" for each in value),
    # Of an object of this process, the key says nothing to anybody.
    lambda value: " ".join(re.sub(r"=object://\w+$", "", each) for each in value),
    comma_separated=True,
    write=list,
)
TENSORS: Kind[tuple[WrittenTensor, ...]] = Kind(
    "NAME:DATATYPE[DIM,…]",
    written.EXPECTED,
    lambda texts: tuple(read_tensor(text) for text in split_tensors(list(texts))),
    lambda value: isinstance(value, tuple) and all(isinstance(each, WrittenTensor) for each in value),
    lambda value: " ".join(map(str, value)),
    write=lambda value: [str(each) for each in value],
)
BACKENDS: Kind[tuple[str, ...]] = Kind(
    "NAME[,NAME]",
    "names of backends, such as python,onnxruntime",
    lambda texts: tuple(name.strip() for text in texts for name in text.split(",")),
    lambda value: isinstance(value, tuple) and all(isinstance(name, str) and name != "" for name in value),
    ",".join,
    comma_separated=True,
)
ARCHIVES: Kind[tuple[str, ...]] = Kind(
    "all|[NAME=]FILE",
    "all, none, or an archive of the model store, such as squeezenet.mar or NAME=squeezenet.mar",
    lambda texts: tuple(text.strip() for text in texts),
    lambda value: isinstance(value, tuple) and all(isinstance(each, str) and each != "" for each in value),
    " ".join,
    comma_separated=True,
)


def _is_network(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(ipaddress.ip_network(text))
    except ValueError:
        return False


NETWORKS: Kind[tuple[str, ...]] = Kind(
    "NETWORK",
    "a network, such as 10.1.0.0/16 or fd00::/8",
    lambda texts: tuple(text.strip() for text in texts),
    lambda value: isinstance(value, tuple) and all(map(_is_network, value)),
    " ".join,
    comma_separated=True,
)
_ORIGIN = re.compile(r"\*|https?://[^/\s]+")
ORIGINS: Kind[tuple[str, ...]] = Kind(
    "ORIGIN",
    "* or a scheme and a host, such as https://app.example.com or http://localhost:3000, without a path",
    lambda texts: tuple(text.strip() for text in texts),
    lambda value: isinstance(value, tuple) and all(_ORIGIN.fullmatch(str(origin)) for origin in value),
    " ".join,
    comma_separated=True,
    write=list,
)


def _read_resources(texts: Sequence[str]) -> tuple[Resource, ...]:
    """Read `NAME:COUNT` or `NAME:COUNT:DEVICE`."""
    resources = []
    for text in texts:
        name, count, *device = (piece.strip() for piece in text.split(":"))
        if len(device) > 1:
            raise ValueError(text)
        resources.append((name, int(count), int(device[0]) if device else None))
    return tuple(resources)


def _is_resource(value: Sequence[object]) -> bool:
    name, count, device = value
    numbers = [count] if device is None else [count, device]
    return isinstance(name, str) and name != "" and all(type(each) is int and each >= 0 for each in numbers)


def _resource_texts(value: tuple[Resource, ...]) -> list[str]:
    return [":".join(str(part) for part in each if part is not None) for each in value]


RESOURCES: Kind[tuple[Resource, ...]] = Kind(
    "NAME:COUNT[:DEVICE]",
    "NAME:COUNT or NAME:COUNT:DEVICE with whole numbers, such as R1:4 or R1:4:0",
    _read_resources,
    lambda value: isinstance(value, tuple) and all(map(_is_resource, value)),
    lambda value: " ".join(_resource_texts(value)),
    comma_separated=True,
    write=_resource_texts,
)
_SIZE = re.compile(r"(\d+)([KMGT]?)(?:i?B)?", re.IGNORECASE)
_DEVICE = re.compile(r"cpu|gpu\d+", re.IGNORECASE)


def _read_size(text: str) -> int:
    """Read `64M`, a number with one of K, M, G, T behind it or not."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) << (10 * " KMGT".index(match[2].upper() or " "))


def _read_sizes(texts: Sequence[str]) -> Sizes:
    """Read `DEVICE=SIZE[,DEVICE=SIZE]`."""
    sizes: dict[str, int] = {}
    for part in (piece.strip() for text in texts for piece in text.split(",")):
        device, _, size = part.lower().partition("=")
        if _DEVICE.fullmatch(device) is None or device in sizes:
            raise ValueError(part)
        sizes[device] = _read_size(size)
    return tuple(sizes.items())


def _show_size(size: int) -> str:
    power = next((n for n in (4, 3, 2, 1) if size and size % (1 << 10 * n) == 0), 0)
    return f"{size >> 10 * power}{' KMGT'[power].strip()}"


SIZE: Kind[int] = Kind(
    "SIZE",
    "a number of bytes, such as 67108864 or 64M",
    lambda texts: _read_size(texts[-1].strip()),
    lambda value: type(value) is int and value >= 0,
    _show_size,
)
SIZES: Kind[Sizes] = Kind(
    "DEVICE=SIZE[,DEVICE=SIZE]",
    "sizes by device, each of them once, such as cpu=8G,gpu0=40G",
    _read_sizes,
    lambda value: (
        isinstance(value, tuple)
        and all(isinstance(device, str) and type(size) is int and size >= 0 for device, size in value)
    ),
    lambda value: ",".join(f"{device}={_show_size(size)}" for device, size in value),
    comma_separated=True,
)
BACKEND_CONFIG: Kind[BackendConfig] = Kind(
    "NAME,KEY=VALUE",
    "NAME,key=value",
    _read_backend_config,
    _is_backend_config,
    lambda value: " ".join(_backend_config_texts(value)),
    write=_backend_config_texts,
)
TRACE_CONFIG: Kind[TraceConfig] = Kind(
    "[MODE,]KEY=VALUE",
    EXPECTED,
    parse_trace_config,
    lambda value: isinstance(value, TraceConfig),
    lambda value: ",".join(value.texts()),
    write=lambda value: [*value.texts()],
)
CACHE_CONFIG: Kind[CacheConfig] = Kind(
    "NAME,KEY=VALUE",
    caching.EXPECTED,
    parse_cache_config,
    lambda value: isinstance(value, CacheConfig),
    lambda value: value.text,
    write=lambda value: [value.with_password],
)
