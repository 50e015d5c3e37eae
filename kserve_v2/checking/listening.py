"""What is logged while a model is looked at: a load would log the same, and then nobody might read it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("kserve_v2", "kserve_v2_backends", "kserve_v2_child")


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def listening() -> Iterator[list[str]]:
    """The server's warnings, which go nowhere else meanwhile."""
    said: list[str] = []
    listener = _Listener(said)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        # Whoever listened before is told of another model.
        logger.handlers, logger.propagate = [listener], False
        logger.setLevel(logging.WARNING)
    try:
        yield said
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
