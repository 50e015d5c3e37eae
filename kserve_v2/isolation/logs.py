"""What a model logs in its process, in the server's log."""

import logging
from collections.abc import Mapping
from typing import Any


def log_record(told: Mapping[str, Any]) -> None:
    """Log what was logged there, as if it had been here."""
    logger = logging.getLogger(told["name"])
    if logger.isEnabledFor(told["levelno"]):
        record = logging.makeLogRecord({name: value for name, value in told.items() if name != "extra"})
        for name, value in told["extra"].items():
            # What a record has is not replaced.
            vars(record).setdefault(name, value)
        if record.exc_text:
            record.exc_info = None
        logger.handle(record)
