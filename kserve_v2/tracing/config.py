"""How tracing starts: what `--trace-config` says, in Triton's syntax."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

OPENTELEMETRY = "opentelemetry"
TRITON = "triton"

LEVELS = ("TIMESTAMPS", "TENSORS")
"""What can be recorded of a request, in the order in which settings list it. Nothing at all is called OFF."""

# Triton's command line takes these, in lower or upper case.
_LEVEL_WORDS: dict[str, tuple[str, ...]] = {
    "off": (),
    "false": (),
    "on": ("TIMESTAMPS",),
    "true": ("TIMESTAMPS",),
    "min": ("TIMESTAMPS",),
    "max": ("TIMESTAMPS",),
    "timestamps": ("TIMESTAMPS",),
    "tensors": ("TENSORS",),
}

# The exporter's own defaults, as the OpenTelemetry specification has them; times are in milliseconds.
_EXPORT_DEFAULTS = {
    "bsp_max_queue_size": 2048,
    "bsp_schedule_delay": 5000,
    "bsp_max_export_batch_size": 512,
}

EXPECTED = (
    "level=OFF|TIMESTAMPS|TENSORS, rate=N, count=N, mode=triton|opentelemetry, triton,file=PATH, "
    "triton,log-frequency=N, opentelemetry,url=URL, opentelemetry,resource=NAME=VALUE or opentelemetry,bsp_…=N"
)


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """The start values of the settings that clients can change, and what only the operator decides.

    `levels`: a part of LEVELS. `rate`: one of so many requests is traced; 0, with OpenTelemetry alone: only those
    whose client asks for it by its `traceparent`. `count`: most traces, -1 for no limit. `log_frequency`: traces per
    numbered file, 0 for all in `file`. `url`: where spans go; "" for OpenTelemetry's default. `resource`: attributes
    of the server. `bsp_…`: how spans are exported in batches.
    """

    levels: tuple[str, ...] = ()
    rate: int = 1000
    count: int = -1
    mode: str = TRITON
    file: str = ""
    log_frequency: int = 0
    url: str = ""
    resource: tuple[tuple[str, str], ...] = ()
    bsp_max_queue_size: int = _EXPORT_DEFAULTS["bsp_max_queue_size"]
    bsp_schedule_delay: int = _EXPORT_DEFAULTS["bsp_schedule_delay"]
    bsp_max_export_batch_size: int = _EXPORT_DEFAULTS["bsp_max_export_batch_size"]

    def problem(self) -> str:
        """Why this cannot be, or "" if it can."""
        if self.mode == TRITON and self.levels and not self.file:
            return f"level={self.levels[0]} needs triton,file=PATH, or mode=opentelemetry"
        if self.mode == TRITON and self.rate == 0:
            return "rate=0 needs mode=opentelemetry"
        if self.bsp_max_export_batch_size > self.bsp_max_queue_size:
            return "bsp_max_export_batch_size is larger than bsp_max_queue_size"
        return ""

    def opentelemetry_settings(self) -> dict[str, str]:
        """What clients are shown of the export of spans."""
        shown = {"url": self.url, "resource": ",".join(f"{name}={value}" for name, value in self.resource)}
        return {name: value for name, value in shown.items() if value} | {
            name: str(getattr(self, name)) for name in _EXPORT_DEFAULTS
        }

    def texts(self) -> Iterator[str]:
        """The texts that `parse_trace_config` makes this value of."""
        default = TraceConfig()
        yield from (f"level={level}" for level in self.levels)
        for name in ("rate", "count", "mode"):
            if getattr(self, name) != getattr(default, name):
                yield f"{name}={getattr(self, name)}"
        if self.file:
            yield f"triton,file={self.file}"
        if self.log_frequency:
            yield f"triton,log-frequency={self.log_frequency}"
        if self.url:
            yield f"opentelemetry,url={self.url}"
        yield from (f"opentelemetry,resource={name}={value}" for name, value in self.resource)
        for name, value in _EXPORT_DEFAULTS.items():
            if getattr(self, name) != value:
                yield f"opentelemetry,{name}={getattr(self, name)}"


def parse_trace_config(texts: Sequence[str]) -> TraceConfig:
    """Read `[MODE,]key=value`; more pairs, and modes for the pairs behind them, may follow in one text.

    Raises ValueError with the part that is wrong.
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        mode = ""
        for part in text.split(","):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals:
                mode = _choice(key, (TRITON, OPENTELEMETRY)) + ","
            elif value:
                values.setdefault(mode + key, []).append(value)
            else:
                raise ValueError(part)
    return _config(values)


def _config(values: dict[str, list[str]]) -> TraceConfig:
    fields: dict[str, Any] = {}
    for key, texts in values.items():
        if key not in _READERS:
            raise ValueError(key)
        name, read = _READERS[key]
        fields[name] = read(texts)
    return TraceConfig(**fields)


def _levels(texts: Sequence[str]) -> tuple[str, ...]:
    """All levels that are named; OFF outweighs them."""
    named = [_LEVEL_WORDS[_choice(text.lower(), _LEVEL_WORDS)] for text in texts]
    return tuple(level for level in LEVELS if (level,) in named) if () not in named else ()


def _choice(text: str, names: Sequence[str] | dict[str, tuple[str, ...]]) -> str:
    if text not in names:
        raise ValueError(text)
    return text


def _number(low: int, high: int = 2**32 - 1) -> Callable[[Sequence[str]], int]:
    """A reader of numbers from `low` to `high`; the last one given counts."""

    def read(texts: Sequence[str]) -> int:
        number = int(texts[-1])
        if not low <= number <= high:
            raise ValueError(texts[-1])
        return number

    return read


def _last(texts: Sequence[str]) -> str:
    return texts[-1]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(text)
    return name, value


_READERS: dict[str, tuple[str, Callable[[Sequence[str]], Any]]] = {
    "level": ("levels", _levels),
    "rate": ("rate", _number(0)),
    "count": ("count", _number(-1, 2**31 - 1)),
    "mode": ("mode", lambda texts: _choice(texts[-1].lower(), (TRITON, OPENTELEMETRY))),
    "triton,file": ("file", _last),
    "triton,log-frequency": ("log_frequency", _number(0)),
    "opentelemetry,url": ("url", _last),
    "opentelemetry,resource": ("resource", lambda texts: tuple(map(_pair, texts))),
    **{f"opentelemetry,{name}": (name, _number(1)) for name in _EXPORT_DEFAULTS},
}
"""Name of an option to the field that it sets, and how its texts are read."""
