"""The routes of the logging and trace extensions: settings that clients read and change while the server runs."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.settings import MAX_VERBOSE_LEVEL, LogChanges, read_log_changes
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.openapi import documented
from kserve_v2.rest.views import json_response
from kserve_v2.tracing.settings import TraceChanges, read_changes

Json = dict[str, Any]


def add_settings_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    """Add the routes to `app`."""

    @app.get("/v2/logging", **documented("log_settings"))
    async def log_settings() -> Response:
        """What is logged, and in which form."""
        return json_response(service.log_settings().shown())

    @app.post("/v2/logging", **documented("log_settings_update"))
    async def update_log_settings(request: Request) -> Response:
        """Change some of the settings. Answers all of them."""
        changes = _log_changes(await bodies.read_object(request.receive))
        return json_response((await service.update_log_settings(changes)).shown())

    @app.get("/v2/trace/setting", **documented("trace_settings"))
    @app.get("/v2/models/{model_name:model}/trace/setting", **documented("model_trace_settings"))
    async def trace_settings(model_name: str = "") -> Response:
        """Which requests are traced, and what is recorded of them: by the settings of the server, or those that hold
        for one model.
        """
        return json_response(service.trace_settings(model_name))

    @app.post("/v2/trace/setting", **documented("trace_settings_update"))
    @app.post("/v2/models/{model_name:model}/trace/setting", **documented("trace_settings_update"))
    async def update_trace_settings(request: Request, model_name: str = "") -> Response:
        """Change some of the settings; null resets one to what the server was started with, or lets one of a model
        follow the server's again. Answers all.
        """
        changes = _trace_changes(await bodies.read_object(request.receive))
        return json_response(await service.update_trace_settings(model_name, changes))


# What JSON is parsed to, and Triton's words for each.
_KINDS = {bool: "boolean", int: "unsigned-integer", str: "string"}


def _log_changes(document: Json) -> LogChanges:
    """The changes that a body asks for; a member that is null is not there. Raises as `read_log_changes`."""
    given = {name: value for name, value in document.items() if value is not None}

    def read(name: str, kind: type) -> Any:
        value = given[name]
        if type(value) is not kind or (kind is int and value not in range(MAX_VERBOSE_LEVEL + 1)):
            raise _wrong_type(_KINDS[kind], name)
        return value

    return read_log_changes(given, read, "--log_format")


def _trace_changes(document: Json) -> TraceChanges:
    """The changes that a body asks for. Raises as `read_changes`, and InvalidArgumentError for a wrong type."""
    given: dict[str, list[str] | None] = {}
    for name, value in document.items():
        if value is None or name in {"trace_file", "trace_mode"}:
            given[name] = None
        elif name in {"trace_level", "trace_rate", "trace_count", "log_frequency"}:
            texts = value if name == "trace_level" else [value]
            if not isinstance(texts, list):
                raise _wrong_type("array", name)
            if not all(isinstance(text, str) for text in texts):
                raise _wrong_type("string", name)
            given[name] = texts
    return read_changes(given, space="")


def _wrong_type(expected: str, name: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"attempt to access JSON non-{expected} as {expected}: '{name}'")
