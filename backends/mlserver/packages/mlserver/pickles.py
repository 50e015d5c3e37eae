"""Pickles, which run what is in them when they are read: they are, where the operator of the server allows that."""

from pathlib import Path
from typing import Any

from .errors import MLServerError

REFUSAL = (
    "which can run any code when it is read: if you trust it, start the server with --backend-config "
    "mlserver,allow-pickles=true"
)

_allowed = [False]


def allow() -> None:
    """The operator trusts the models of this process."""
    _allowed[0] = True


def load(path: str) -> Any:
    """What joblib finds in a file. Raises MLServerError where that is not allowed."""
    if not _allowed[0]:
        raise MLServerError(f"{Path(path).name} is a pickle, {REFUSAL}")
    import joblib  # noqa: PLC0415 - for those alone who need it

    return joblib.load(path)
