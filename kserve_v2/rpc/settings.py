"""TraceSetting and LogSettings: settings that clients read and change while the server runs."""

from collections.abc import Mapping
from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.settings import LogChanges, LogSettings, read_log_changes
from kserve_v2.rpc.calls import Rpc
from kserve_v2.rpc.typed import inference_rpc
from kserve_v2.tracing.settings import read_changes


def settings_rpcs(service: InferenceService) -> tuple[Rpc, ...]:
    """Both RPCs. A request without settings only asks."""

    async def trace_setting(request: pb.TraceSettingRequest) -> dict[str, Any]:
        """Read or change the trace settings of the server or, with `model_name`, of a model."""
        if request.settings:
            # A setting without a value resets it.
            given = {name: list(setting.value) or None for name, setting in request.settings.items()}
            shown = await service.update_trace_settings(request.model_name, read_changes(given))
        else:
            shown = service.trace_settings(request.model_name)
        made = pb.TraceSettingResponse.SettingValue
        values = {name: [value] if isinstance(value, str) else value for name, value in shown.items()}
        return {"settings": {name: made(value=value) for name, value in values.items()}}

    async def log_settings(request: pb.LogSettingsRequest) -> dict[str, Any]:
        """Read or change the settings of the log."""
        changes = _log_changes(request.settings)
        return _log_view(await service.update_log_settings(changes) if changes else service.log_settings())

    return inference_rpc("TraceSetting", trace_setting), inference_rpc("LogSettings", log_settings)


# The field that has a value of a type, and Triton's word for that.
_FIELDS = {bool: ("bool_param", "boolean"), int: ("uint32_param", "int32"), str: ("string_param", "string")}


def _log_view(settings: LogSettings) -> dict[str, Any]:
    made = pb.LogSettingsResponse.SettingValue
    shown = settings.shown().items()
    return {"settings": {name: made(**{_FIELDS[type(value)][0]: value}) for name, value in shown}}


def _log_changes(given: Mapping[str, pb.LogSettingsRequest.SettingValue]) -> LogChanges:
    """The changes that a request asks for. Raises as `read_log_changes`."""

    def read(name: str, kind: type) -> Any:
        field, expected = _FIELDS[kind]
        if given[name].WhichOneof("parameter_choice") != field:
            raise InvalidArgumentError(f"expect {expected} for '{name}'")
        return getattr(given[name], field)

    return read_log_changes(given, read)
