"""TraceSetting and LogSettings: settings that clients read and change while the server runs."""

from collections.abc import Mapping

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.settings import FORMATS, SWITCHES, LogChanges, LogSettings
from kserve_v2.rpc.calls import Context, Unary
from kserve_v2.tracing.settings import read_changes


class SettingsServicer:
    """Answers the two RPCs. A request without settings only asks."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def rpcs(self, path: str) -> tuple[Unary, ...]:
        """The RPCs, below the path of their service."""
        return (
            Unary(f"{path}TraceSetting", pb.TraceSettingRequest, self.trace_setting),
            Unary(f"{path}LogSettings", pb.LogSettingsRequest, self.log_settings),
        )

    async def trace_setting(
        self, request: pb.TraceSettingRequest, context: Context
    ) -> pb.TraceSettingResponse:
        """Read or change the trace settings of the server or, with `model_name`, of a model."""
        if request.settings:
            # A setting without a value resets it.
            given = {name: list(setting.value) or None for name, setting in request.settings.items()}
            shown = await self._service.update_trace_settings(request.model_name, read_changes(given))
        else:
            shown = self._service.trace_settings(request.model_name)
        response = pb.TraceSettingResponse()
        for name, value in shown.items():
            response.settings[name].value.extend([value] if isinstance(value, str) else value)
        return response

    async def log_settings(self, request: pb.LogSettingsRequest, context: Context) -> pb.LogSettingsResponse:
        """Read or change the settings of the log."""
        changes = _log_changes(request.settings)
        service = self._service
        settings = await service.update_log_settings(changes) if changes else service.log_settings()
        return _log_view(settings)


def _log_view(settings: LogSettings) -> pb.LogSettingsResponse:
    response = pb.LogSettingsResponse()
    # Logs always go to stderr.
    response.settings["log_file"].string_param = ""
    for name in SWITCHES:
        response.settings[name].bool_param = getattr(settings, name)
    response.settings["log_verbose_level"].uint32_param = settings.log_verbose_level
    response.settings["log_format"].string_param = settings.log_format
    return response


def _log_changes(given: Mapping[str, pb.LogSettingsRequest.SettingValue]) -> LogChanges:
    """The changes that a request asks for; unknown settings are ignored, as in Triton.

    Raises UnsupportedError for a file, InvalidArgumentError for a value of the wrong type.
    """
    if "log_file" in given:
        raise UnsupportedError("log file location can not be updated through network protocol")
    changes = LogChanges()
    for name in SWITCHES:
        if name in given:
            changes[name] = _checked(given, name, "bool_param", "boolean").bool_param
    if "log_verbose_level" in given:
        level = _checked(given, "log_verbose_level", "uint32_param", "int32")
        changes["log_verbose_level"] = level.uint32_param
    if "log_format" in given:
        log_format = _checked(given, "log_format", "string_param", "string").string_param
        if log_format not in FORMATS:
            raise InvalidArgumentError(f"invalid argument for log_format, got: {log_format}")
        changes["log_format"] = log_format
    return changes


def _checked(
    given: Mapping[str, pb.LogSettingsRequest.SettingValue], name: str, field: str, expected: str
) -> pb.LogSettingsRequest.SettingValue:
    """A setting whose value is in `field`; raises InvalidArgumentError for one of another type."""
    if given[name].WhichOneof("parameter_choice") != field:
        raise InvalidArgumentError(f"expect {expected} for '{name}'")
    return given[name]
