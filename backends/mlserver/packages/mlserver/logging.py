"""The logger of models: its lines are the server's, with the model's name."""

import logging

LoggerName = "mlserver"

logger = logging.getLogger(LoggerName)


def get_logger() -> logging.Logger:
    """The logger of models."""
    return logger
