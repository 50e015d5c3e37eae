"""What the model logs, on its way to the server's log, with the ids of the requests that it is logged for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from .channel.channel import Channel
from .channel.messages import Kind

_serving: ContextVar[Sequence[Any]] = ContextVar("kserve_v2_requests", default=())

# What every record has; anything else in it came by `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def log_for(requests: Sequence[Any]) -> None:
    """What is logged by this thread, or this task and those that it starts, is logged for these requests from now
    on.
    """
    _serving.set(requests)


class SideHandler(logging.Handler):
    """Sends records to the server."""

    def __init__(self, side: Channel) -> None:
        super().__init__()
        self._side = side
        self._sending = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record. A record that is logged meanwhile is lost: it would come here without end."""
        if getattr(self._sending, "now", False):
            return
        self._sending.now = True
        try:
            self._side.send(Kind.LOG, 0, _fields(record))
        except Exception:  # noqa: BLE001 - what is logged must not break who logs it
            self.handleError(record)
        finally:
            self._sending.now = False


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    formatter = logging.Formatter()
    fields: dict[str, Any] = {
        "name": record.name,
        "levelno": record.levelno,
        "levelname": record.levelname,
        "created": record.created,
        "filename": record.filename,
        "lineno": record.lineno,
        "msg": record.getMessage(),
    }
    if record.exc_info:
        fields["exc_text"] = record.exc_text or formatter.formatException(record.exc_info)
    if record.stack_info:
        fields["stack_info"] = record.stack_info
    extra = {name: _plain(value) for name, value in vars(record).items() if name not in _STANDARD}
    ids = [each.id for each in _serving.get() if each.id]
    if ids:
        extra.setdefault("request_id", ",".join(ids))
    fields["extra"] = extra
    return fields


def _plain(value: Any) -> Any:
    return value if value is None or type(value) in (bool, int, float, str) else str(value)
