"""The trace and logging extensions: settings that change at run time."""

from typing import Any

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import UNKNOWN_MODEL, both, protocol, refused
from kserve_v2_conformance.target import Target, model_path

_JSON = {"Content-Type": "application/json"}
_LOG_TYPES = {
    "log_file": str,
    "log_info": bool,
    "log_warning": bool,
    "log_error": bool,
    "log_verbose_level": int,
    "log_format": str,
}


def _trace(target: Target, carrier: str, model: str = "", **changes: Any) -> dict[str, Any] | None:
    """Change trace settings, or none; returns all of them in the form that REST has, or None for an error."""
    if carrier == "json":
        path = f"{model_path(model)}/trace/setting" if model else "/v2/trace/setting"
        answer = target.rest.post(path, changes) if changes else target.rest.get(path)
        return answer.object() if answer.status == 200 else None
    request = pb.TraceSettingRequest(model_name=model)
    for name, value in changes.items():
        values = [] if value is None else value if isinstance(value, list) else [value]
        request.settings[name].value.extend(values)
    message = target.grpc.call(request, pb.TraceSettingResponse)
    if isinstance(message, GrpcError):
        return None
    listed = {name: list(setting.value) for name, setting in message.settings.items()}
    return {name: each if name == "trace_level" else each[0] if each else "" for name, each in listed.items()}


def _must(settings: dict[str, Any] | None) -> dict[str, Any]:
    if settings is None:
        raise UnreadableAnswer("the call for settings failed")
    return settings


@both("TRACE-001")
def test_trace_settings(carrier: str, target: Target, check: Checks) -> None:
    """The settings and their types."""
    clause = f"{protocol(carrier)}-TRACE-001"
    settings = _must(_trace(target, carrier))
    check.has_type(clause, "trace_level", settings.get("trace_level"), list)
    for name in ("trace_rate", "trace_count"):
        check.has_type(clause, name, settings.get(name), str)


@both("TRACE-005")
def test_trace_files(carrier: str, target: Target, check: Checks) -> None:
    """Where traces are written, and how often."""
    settings = _must(_trace(target, carrier))
    for name in ("trace_file", "log_frequency"):
        check.has_type(f"{protocol(carrier)}-TRACE-005", name, settings.get(name), str)


@both("TRACE-006")
@pytest.mark.parametrize("name", ["trace_count", "log_frequency"])
def test_change_of_each_trace_setting(name: str, carrier: str, target: Target, check: Checks) -> None:
    """Another number, and back."""
    clause = f"{protocol(carrier)}-TRACE-006"
    before = _must(_trace(target, carrier))
    after = _must(_trace(target, carrier, "", **{name: "42"}))
    check.equal(clause, "settings", after, before | {name: "42"})
    check.equal(clause, "settings asked for again", _must(_trace(target, carrier)), after)
    _trace(target, carrier, "", **{name: before.get(name)})


@both("TRACE-009")
def test_trace_file(carrier: str, target: Target, check: Checks) -> None:
    """Another file."""
    before = _must(_trace(target, carrier))
    after = _trace(target, carrier, trace_file="conformance.json")
    kept = after is None or after.get("trace_file") == "conformance.json"
    check.that(f"{protocol(carrier)}-TRACE-009", "answer", kept, "an error, or the other file", str(after))
    if after is not None:
        _trace(target, carrier, trace_file=before.get("trace_file"))


@both("TRACE-008")
def test_trace_setting_of_no_model(carrier: str, target: Target, check: Checks) -> None:
    """The rate of a model that does not exist."""
    settings = _trace(target, carrier, UNKNOWN_MODEL, trace_rate="5")
    check.that(f"{protocol(carrier)}-TRACE-008", "answer", settings is None, "an error", str(settings))


@pytest.mark.clause("REST-TRACE-007")
@pytest.mark.parametrize("body", [b"{", b'{"trace_rate": "often"}', b'{"trace_rate": [1]}'])
def test_trace_error(body: bytes, target: Target, check: Checks) -> None:
    """No JSON, no number, no string."""
    refused(check, "REST-TRACE-007", target.rest.post("/v2/trace/setting", body, _JSON))


@both("TRACE-002")
def test_change_trace_setting(carrier: str, target: Target, check: Checks) -> None:
    """Another rate."""
    clause = f"{protocol(carrier)}-TRACE-002"
    before = _must(_trace(target, carrier))
    after = _must(_trace(target, carrier, trace_rate="4242"))
    check.equal(clause, "settings", after, before | {"trace_rate": "4242"})
    check.equal(clause, "settings asked for again", _must(_trace(target, carrier)), after)
    _trace(target, carrier, trace_rate=before["trace_rate"])


@both("TRACE-003")
def test_trace_setting_of_a_model(carrier: str, target: Target, check: Checks) -> None:
    """A model's own rate, and back."""
    clause, model = f"{protocol(carrier)}-TRACE-003", target.model("identity").name
    before = _must(_trace(target, carrier))
    changed = _must(_trace(target, carrier, model, trace_rate="77"))
    check.equal(clause, "the model's rate", changed.get("trace_rate"), "77")
    check.equal(
        clause, "the server's rate", _must(_trace(target, carrier)).get("trace_rate"), before["trace_rate"]
    )
    back = _must(_trace(target, carrier, model, trace_rate=None))
    check.equal(clause, "the model's rate, taken back", back.get("trace_rate"), before["trace_rate"])


@both("TRACE-004")
def test_wrong_trace_setting(carrier: str, target: Target, check: Checks) -> None:
    """A rate that is no number."""
    settings = _trace(target, carrier, trace_rate="often")
    check.that(f"{protocol(carrier)}-TRACE-004", "answer", settings is None, "an error", str(settings))


def _log(target: Target, carrier: str, **changes: Any) -> dict[str, Any] | None:
    """Change log settings, or none; returns all of them, or None for an error."""
    if carrier == "json":
        answer = target.rest.post("/v2/logging", changes) if changes else target.rest.get("/v2/logging")
        return answer.object() if answer.status == 200 else None
    request = pb.LogSettingsRequest()
    for name, value in changes.items():
        setting = request.settings[name]
        if isinstance(value, bool):
            setting.bool_param = value
        elif isinstance(value, int):
            setting.uint32_param = value
        else:
            setting.string_param = value
    message = target.grpc.call(request, pb.LogSettingsResponse)
    if isinstance(message, GrpcError):
        return None
    return {
        name: getattr(each, each.WhichOneof("parameter_choice") or "string_param")
        for name, each in message.settings.items()
    }


@both("LOG-001")
def test_log_settings(carrier: str, target: Target, check: Checks) -> None:
    """The settings and their types."""
    settings = _must(_log(target, carrier))
    for name, kind in _LOG_TYPES.items():
        check.has_type(f"{protocol(carrier)}-LOG-001", name, settings.get(name), kind)


@both("LOG-002")
def test_change_log_setting(carrier: str, target: Target, check: Checks) -> None:
    """Another level."""
    clause = f"{protocol(carrier)}-LOG-002"
    before = _must(_log(target, carrier))
    level = before.get("log_verbose_level", 0) + 1
    after = _must(_log(target, carrier, log_verbose_level=level))
    check.equal(clause, "settings", after, before | {"log_verbose_level": level})
    check.equal(clause, "settings asked for again", _must(_log(target, carrier)), after)
    _log(target, carrier, log_verbose_level=before.get("log_verbose_level", 0))


@both("LOG-003")
def test_wrong_log_setting(carrier: str, target: Target, check: Checks) -> None:
    """A switch that is a text, a format that there is none of."""
    clause = f"{protocol(carrier)}-LOG-003"
    for changes in ({"log_info": "sometimes"}, {"log_format": "no_such_format"}):
        settings = _log(target, carrier, **changes)
        check.that(clause, f"answer to {changes}", settings is None, "an error", str(settings))


@pytest.mark.clause("REST-LOG-004")
def test_negative_verbose_level(target: Target, check: Checks) -> None:
    """A level of -1."""
    settings = _log(target, "json", log_verbose_level=-1)
    check.that("REST-LOG-004", "answer", settings is None, "an error", str(settings))


@both("LOG-005")
@pytest.mark.parametrize("name", ["log_info", "log_warning", "log_error", "log_format"])
def test_change_of_each_log_setting(name: str, carrier: str, target: Target, check: Checks) -> None:
    """The other value, and back."""
    clause = f"{protocol(carrier)}-LOG-005"
    before = _must(_log(target, carrier))
    was = before.get(name)
    other: Any = not was if isinstance(was, bool) else "ISO8601" if was == "default" else "default"
    after = _must(_log(target, carrier, **{name: other}))
    check.equal(clause, "settings", after, before | {name: other})
    check.equal(clause, "settings asked for again", _must(_log(target, carrier)), after)
    _log(target, carrier, **{name: was})


@pytest.mark.clause("REST-LOG-006")
@pytest.mark.parametrize("body", [b"{", b'{"log_info": "sometimes"}', b'{"log_verbose_level": "high"}'])
def test_log_error(body: bytes, target: Target, check: Checks) -> None:
    """No JSON, no boolean, no number."""
    refused(check, "REST-LOG-006", target.rest.post("/v2/logging", body, _JSON))


@both("LOG-007")
def test_log_file(carrier: str, target: Target, check: Checks) -> None:
    """Another file."""
    before = _must(_log(target, carrier))
    after = _log(target, carrier, log_file="conformance.log")
    kept = after is None or after.get("log_file") == "conformance.log"
    check.that(f"{protocol(carrier)}-LOG-007", "answer", kept, "an error, or the other file", str(after))
    if after is not None:
        _log(target, carrier, log_file=before.get("log_file"))
