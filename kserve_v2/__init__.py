"""A model server that speaks the KServe v2 / Open Inference Protocol.

What a handler or another program needs of the package itself is here; `kserve_v2.backend` is the contract for
backends. Every handler imports this, and so it imports next to nothing: the types for annotations come when they are
asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kserve_v2.errors import (
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RequestCancelledError,
    ResourceExhaustedError,
    ServingError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from kserve_v2.handlers.context import Answer, Context, Request
    from kserve_v2.handlers.declared import (
        BF16,
        BOOL,
        BYTES,
        FP16,
        FP32,
        FP64,
        INT8,
        INT16,
        INT32,
        INT64,
        UINT8,
        UINT16,
        UINT32,
        UINT64,
        Image,
        Json,
        Text,
    )
    from kserve_v2.handlers.model import Model

__all__ = [
    "BF16",
    "BOOL",
    "BYTES",
    "FP16",
    "FP32",
    "FP64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "Answer",
    "Context",
    "Image",
    "InternalError",
    "InvalidArgumentError",
    "Json",
    "Model",
    "NotFoundError",
    "PermissionDeniedError",
    "Request",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "ServingError",
    "Text",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
]

_CONTEXT = ("Answer", "Context", "Request")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "context" if name in _CONTEXT else "model" if name == "Model" else "declared"
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.handlers.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
