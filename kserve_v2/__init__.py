"""A model server that speaks the KServe v2 / Open Inference Protocol.

What a handler or another program needs of the package itself is here: `serve` is a server inside of a program;
`kserve_v2.backend` is the contract for backends. Every handler imports this, and so it imports next to nothing: the
types for annotations come when they are asked for.
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
    from kserve_v2.archiving.model_archive import archive_model
    from kserve_v2.archiving.workflow_archive import archive_workflow
    from kserve_v2.embedded.serve import serve
    from kserve_v2.embedded.server import Server
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
    from kserve_v2.handlers.described import model
    from kserve_v2.handlers.model import Model
    from kserve_v2.settings.options import SettingsError
    from kserve_v2.settings.settings import Settings
    from kserve_v2.startup import StartupError

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
    "Server",
    "ServingError",
    "Settings",
    "SettingsError",
    "StartupError",
    "Text",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "archive_model",
    "archive_workflow",
    "model",
    "serve",
]

# Where the names are that are not imported at once, and not in `handlers.declared`.
_HOMES = {
    "Answer": "handlers.context",
    "Context": "handlers.context",
    "Request": "handlers.context",
    "Model": "handlers.model",
    "Server": "embedded.server",
    "Settings": "settings.settings",
    "SettingsError": "settings.options",
    "StartupError": "startup",
    "archive_model": "archiving.model_archive",
    "archive_workflow": "archiving.workflow_archive",
    "model": "handlers.described",
    "serve": "embedded.serve",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "handlers.declared")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
