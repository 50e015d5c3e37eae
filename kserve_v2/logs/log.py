"""Logs of the process: one line per record on stderr, as text or JSON. The access log is formatted by a thread of its
own. Nobody who logs waits for whoever reads; see `logs.output`.

`configure` at start, `apply` while the server runs and `shutdown` at the end are the only functions that change
the process's logging.
"""

import json
import logging
import os
import queue
import sys
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, NamedTuple, TextIO

from kserve_v2.logs.output import LogOutput
from kserve_v2.logs.settings import MAX_VERBOSE_LEVEL, LogSettings
from kserve_v2.logs.terminal import ERASE_LINE
from kserve_v2.messages import InferResponse
from kserve_v2.settings.settings import Settings

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that the running task serves; every record logged meanwhile carries it."""

_ACCESS_QUEUE_LIMIT = 10_000

# How long lines that wait are given at the end.
_FLUSH_SECONDS = 2.0

# Of a traceback, the first and the last so many characters are written.
_MAX_TRACEBACK_PART = 32 * 1024

# What every record has; anything else in it came by `extra` and is part of the message.
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_server_log = logging.getLogger("kserve_v2")
_access_log = logging.getLogger("kserve_v2.access")
# uvicorn reports its own start and stop as INFO, which the server does itself.
_uvicorn_log = logging.getLogger("uvicorn")


class _Lines(logging.Formatter):
    """What both formats share: when, and with which fields."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Request id, if there is one, the number of a process that has one, and the record's `extra`."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
        current = extra.pop("request_id", "") or request_id.get()
        if _state.process is not None:
            extra = {"process": _state.process, **extra}
        return {"request_id": current, **extra} if current else extra

    def exception(self, record: logging.LogRecord) -> str:
        """The traceback, and the stack if one was asked for."""
        # A record of another process brings its traceback as a text.
        text = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        parts = [text] if text else []
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        text = "\n".join(parts)
        left_out = len(text) - 2 * _MAX_TRACEBACK_PART
        if left_out <= 0:
            return text
        # The text of a model's exception is as long as the model likes.
        head, tail = text[:_MAX_TRACEBACK_PART], text[-_MAX_TRACEBACK_PART:]
        return f"{head}\n... ({left_out} characters) ...\n{tail}"


class TextFormatter(_Lines):
    """`time LEVEL logger message key=value …`.

    Line ends and other control characters in messages and values are escaped: no client can forge a line.
    A traceback follows on lines of its own, each behind a bar.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, and its traceback's."""
        pairs = (f" {name}={_quote(value)}" for name, value in self.fields(record).items())
        traceback = (f"\n  | {_escape(line)}" for line in self.exception(record).splitlines())
        return f"{self.head(record)} {_escape(record.getMessage())}" + "".join(pairs) + "".join(traceback)

    def head(self, record: logging.LogRecord) -> str:
        """What stands before the message."""
        return f"{self.formatTime(record)} {record.levelname} {record.name}"


class Iso8601Formatter(TextFormatter):
    """As `TextFormatter`, with the head of Triton's `ISO8601`: `time L process file:line]`, L for the level."""

    def head(self, record: logging.LogRecord) -> str:
        """What stands before the message."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"{moment} {record.levelname[0]} {os.getpid()} {record.filename or record.name}:{record.lineno}]"
        )


class JsonFormatter(_Lines):
    """One JSON object per line: time, level, logger, message, request_id, extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields(record),
        }
        exception = self.exception(record)
        if exception:
            line["exception"] = exception
        return json.dumps(line, default=str)


_FORMATTERS: dict[str, type[logging.Formatter]] = {
    "default": TextFormatter,
    "ISO8601": Iso8601Formatter,
    "json": JsonFormatter,
}


class _AccessHandler(QueueHandler):
    """Puts records on the queue of the writing thread as they are: formatting is that thread's work."""

    queue: "queue.SimpleQueue[Any]"
    _dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        # If they come faster than they are formatted, lines are lost rather than memory.
        if self.queue.qsize() >= _ACCESS_QUEUE_LIMIT:
            self._dropped += 1
            return
        self.say_dropped()
        self.queue.put(record)

    def say_dropped(self) -> None:
        """Say how many lines have found no room since this was said last."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.queue.put(_notice(dropped))


class _OutputHandler(logging.Handler):
    """Writes lines to stderr."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._output = LogOutput(stream, lambda dropped: self.format(_notice(dropped)))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.write(_state.line_start + self.format(record))
        except Exception:  # noqa: BLE001 - as in every handler: what is logged must not break who logs it
            self.handleError(record)

    def flush(self) -> None:
        self._output.flush(_FLUSH_SECONDS)

    def close(self) -> None:
        self._output.close(_FLUSH_SECONDS)
        super().close()


def _notice(dropped: int) -> logging.LogRecord:
    record = {
        "name": "kserve_v2.logs",
        "levelno": logging.WARNING,
        "levelname": "WARNING",
        "filename": "log.py",
    }
    message = (
        f"{dropped} log lines were dropped: there was no room for them, because they were not read in time"
    )
    return logging.makeLogRecord({**record, "msg": message})


class _State:
    """What `configure` has set up and `shutdown` takes down."""

    settings = LogSettings()
    process: int | None = None
    line_start = ""
    output: _OutputHandler | None = None
    access: tuple[_AccessHandler, QueueListener] | None = None


_state = _State()


def configure(settings: Settings, process: int | None = None) -> None:
    """Send every log of the process to stderr in the format and detail that `settings` ask for. `process`: its number,
    of one that answers beside others.
    """
    shutdown()
    _state.process = process
    output = _OutputHandler(sys.stderr)
    output.addFilter(lambda record: _state.settings.shows(record.levelno))
    root = logging.getLogger()
    root.addHandler(output)
    root.setLevel(logging.INFO)
    _state.output = output
    apply(
        LogSettings(
            settings.log_info,
            settings.log_warning,
            settings.log_error,
            min(settings.log_verbose, MAX_VERBOSE_LEVEL),
            settings.log_format,
        )
    )
    logging.captureWarnings(capture=True)
    _access_log.propagate = False
    if settings.log_access:
        handler = _AccessHandler(queue.SimpleQueue())
        listener = QueueListener(handler.queue, output)
        listener.start()
        _access_log.addHandler(handler)
        _state.access = handler, listener


def current() -> LogSettings:
    """The settings in effect."""
    return _state.settings


def apply(settings: LogSettings) -> None:
    """Write every following line by `settings`."""
    _state.settings = settings
    if _state.output is not None:
        _state.output.setFormatter(_FORMATTERS[settings.log_format]())
    _server_log.setLevel(logging.DEBUG if settings.log_verbose_level else logging.INFO)
    _uvicorn_log.setLevel(logging.INFO if settings.log_verbose_level else logging.WARNING)


def draw_over(wanted: bool) -> None:
    """Have every line erase what stands where it is written: something is drawn on the same terminal."""
    _state.line_start = ERASE_LINE if wanted else ""


def shutdown() -> None:
    """Write what is still queued and undo `configure`. May be called at any time, and more than once."""
    if _state.access is not None:
        handler, listener = _state.access
        _state.access = None
        _access_log.removeHandler(handler)
        handler.say_dropped()
        listener.stop()
    if _state.output is not None:
        logging.captureWarnings(capture=False)
        root = logging.getLogger()
        root.removeHandler(_state.output)
        root.setLevel(logging.WARNING)
        for log in (_server_log, _uvicorn_log):
            log.setLevel(logging.NOTSET)
        _access_log.propagate = True
        _state.output.close()
        _state.output = None
        _state.process = None


def access_log_enabled() -> bool:
    """Whether a request is worth describing; ask before working out what `log_access` takes."""
    return _state.access is not None


class Execution(NamedTuple):
    """How a batch was executed: its rows, when an instance took it (monotonic), how long it took."""

    batch_rows: int
    taken_ns: int
    compute_ns: int


@dataclass(slots=True)
class Access:
    """One inference request, described while it is answered. `status` is that of the protocol, HTTP or gRPC.
    `elsewhere`: another process of this server has its line.
    """

    protocol: str
    model: str
    version: str
    request_id: str = ""
    status: int = 0
    execution: Execution | None = None
    elsewhere: bool = False
    started_ns: int = field(default_factory=time.monotonic_ns)

    def executed(self, response: InferResponse) -> None:
        """Note which version answered, and how."""
        self.version = response.model_version
        if response.batch_rows:
            self.execution = Execution(response.batch_rows, response.taken_ns, response.compute_ns)


def log_access(access: Access) -> None:
    """Queue one line about an inference request that is over."""
    if _state.access is None or access.elsewhere:
        return
    execution = access.execution or Execution(0, access.started_ns, 0)
    fields = {
        "protocol": access.protocol,
        "model": access.model,
        "version": access.version,
        "request_id": access.request_id,
        "status": access.status,
        "batch_rows": execution.batch_rows,
        "queue_us": (execution.taken_ns - access.started_ns) // 1000,
        "compute_us": execution.compute_ns // 1000,
        "duration_us": (time.monotonic_ns() - access.started_ns) // 1000,
    }
    record = logging.makeLogRecord({"name": _access_log.name, "levelno": logging.INFO, "levelname": "INFO"})
    record.msg = "infer"
    vars(record).update(fields)
    _state.access[0].handle(record)


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quote(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text != "" and not any(c in text for c in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())
