"""The routes of the logging and trace extensions: settings that clients read and change while the server runs."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from kserve_v2.errors import InvalidArgumentError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.settings import FORMATS, MAX_VERBOSE_LEVEL, SWITCHES, LogChanges, LogSettings
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.openapi import documented
from kserve_v2.rest.views import json_response
from kserve_v2.tracing.settings import TraceChanges, read_changes

Json = dict[str, Any]

_LOG_FILE_FIXED = "log file location can not be updated through network protocol"


def add_settings_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    """Add the routes to `app`."""
    _add_logging_routes(app, service, bodies)
    _add_trace_routes(app, service, bodies)


def _add_logging_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    @app.get("/v2/logging", **documented("log_settings"))
    async def log_settings() -> Response:
        """What is logged, and in which form."""
        return json_response(_log_view(service.log_settings()))

    @app.post("/v2/logging", **documented("log_settings_update"))
    async def update_log_settings(request: Request) -> Response:
        """Change some of the settings. Answers all of them."""
        changes = _log_changes(await bodies.read_object(request.receive))
        return json_response(_log_view(await service.update_log_settings(changes)))


def _add_trace_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    @app.get("/v2/trace/setting", **documented("trace_settings"))
    async def trace_settings() -> Response:
        """Which requests are traced, and what is recorded of them."""
        return json_response(service.trace_settings())

    @app.post("/v2/trace/setting", **documented("trace_settings_update"))
    async def update_trace_settings(request: Request) -> Response:
        """Change some of the settings; null resets one to what the server was started with. Answers all."""
        changes = _trace_changes(await bodies.read_object(request.receive))
        return json_response(await service.update_trace_settings("", changes))

    @app.get("/v2/models/{model_name}/trace/setting", **documented("model_trace_settings"))
    async def model_trace_settings(model_name: str) -> Response:
        """The settings that hold for one model."""
        return json_response(service.trace_settings(model_name))

    @app.post("/v2/models/{model_name}/trace/setting", **documented("trace_settings_update"))
    async def update_model_trace_settings(model_name: str, request: Request) -> Response:
        """Change some settings of one model; null lets one follow the server's again. Answers all."""
        changes = _trace_changes(await bodies.read_object(request.receive))
        return json_response(await service.update_trace_settings(model_name, changes))


def _log_view(settings: LogSettings) -> Json:
    return {
        # Logs always go to stderr.
        "log_file": "",
        **{name: getattr(settings, name) for name in (*SWITCHES, "log_verbose_level", "log_format")},
    }


def _log_changes(document: Json) -> LogChanges:
    """The changes that a body asks for; null and unknown members are ignored, as in Triton.

    Raises UnsupportedError for a file, InvalidArgumentError for a value of the wrong type.
    """
    given = {name: value for name, value in document.items() if value is not None}
    if "log_file" in given:
        raise UnsupportedError(_LOG_FILE_FIXED)
    changes = LogChanges()
    for name in SWITCHES:
        if name in given:
            if not isinstance(given[name], bool):
                raise _wrong_type("boolean", name)
            changes[name] = given[name]
    if "log_verbose_level" in given:
        level = given["log_verbose_level"]
        if type(level) is not int or not 0 <= level <= MAX_VERBOSE_LEVEL:
            raise _wrong_type("unsigned-integer", "log_verbose_level")
        changes["log_verbose_level"] = level
    if "log_format" in given:
        changes["log_format"] = _log_format(given["log_format"])
    return changes


def _log_format(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type("string", "log_format")
    if value not in FORMATS:
        raise InvalidArgumentError(f"invalid argument for --log_format, got: {value}")
    return value


def _trace_changes(document: Json) -> TraceChanges:
    """The changes that a body asks for. Raises as `read_changes`, and InvalidArgumentError for a wrong type."""
    given: dict[str, list[str] | None] = {}
    for name, value in document.items():
        if value is None or name in {"trace_file", "trace_mode"}:
            given[name] = None
        elif name == "trace_level":
            given[name] = _level_texts(value)
        elif name in {"trace_rate", "trace_count", "log_frequency"}:
            if not isinstance(value, str):
                raise _wrong_type("string", name)
            given[name] = [value]
    return read_changes(given, space="")


def _level_texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise _wrong_type("array", "trace_level")
    if not all(isinstance(level, str) for level in value):
        raise _wrong_type("string", "trace_level")
    return value


def _wrong_type(expected: str, name: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"attempt to access JSON non-{expected} as {expected}: '{name}'")
