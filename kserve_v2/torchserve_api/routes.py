"""Which of TorchServe's calls a request is: a pure function of its method and path."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from kserve_v2.torchserve_api.errors import method_not_allowed, not_found


class Api(Enum):
    """One of the three. Those at one address are asked in this order."""

    INFERENCE = "inference"
    MANAGEMENT = "management"
    METRICS = "metrics"


class Call(Enum):
    """What is asked for."""

    DESCRIPTION = "description"
    DESCRIBE_PREDICTION = "describe prediction"
    DESCRIBE_MANAGEMENT = "describe management"
    PING = "ping"
    PREDICT = "predict"
    EXPLAIN = "explain"
    INVOKE = "invoke"
    WORKFLOW = "workflow"
    SERVER_METADATA = "server metadata"
    LIVE = "live"
    READY = "ready"
    VERSIONED = "versioned"

    LIST = "list"
    REGISTER = "register"
    DESCRIBE = "describe"
    SCALE = "scale"
    SET_DEFAULT = "set default"
    UNREGISTER = "unregister"
    MODEL_READY = "model ready"
    TOKEN = "token"  # noqa: S105 - a name
    WORKFLOWS = "workflows"

    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Route:
    """A call and what its path names: a model, a version ("" for the default one), and what is behind them."""

    call: Call
    api: Api
    name: str = ""
    version: str = ""
    rest: str = ""


def route(
    apis: Collection[Api], method: str, path: str, *, open_protocol: bool = False, model_api: bool = True
) -> Route:
    """The call at an address that has these APIs. `path`: still percent-encoded. `open_protocol`: whether the calls of
    the Open Inference Protocol are answered. `model_api`: whether models may be registered and unregistered.

    Raises TorchServeError for what is none.
    """
    segments = [unquote(segment) for segment in path.split("/")[1:]]
    found = None
    if Api.INFERENCE in apis:
        found = _inference(method, segments, open_protocol=open_protocol)
    if found is None and Api.MANAGEMENT in apis:
        found = _management(method, segments, model_api=model_api)
    if found is None and Api.METRICS in apis and segments[0] == "metrics" and len(segments) == 1:
        found = Route(Call.METRICS, Api.METRICS)
    if found is None:
        if segments in ([""], []):
            if method == "OPTIONS":
                return Route(Call.DESCRIPTION, next(iter(apis)))
            raise method_not_allowed()
        raise not_found()
    return found


def _inference(  # noqa: PLR0911 - a table
    method: str, segments: list[str], *, open_protocol: bool
) -> Route | None:
    api = Api.INFERENCE
    match segments:
        case ["ping"]:
            return Route(Call.PING, api)
        case ["api-description"]:
            return Route(Call.DESCRIPTION, api)
        case ["predictions" | "explanations" as kind, name, *more] if name:
            call = Call.PREDICT if kind == "predictions" else Call.EXPLAIN
            if method == "OPTIONS":
                call = Call.DESCRIBE_PREDICTION
            return Route(call, api, name, more[0] if more else "", "/".join(more[1:]))
        case ["invocations"]:
            return Route(Call.INVOKE, api)
        case ["models", name, "invoke"] if name:
            return Route(Call.INVOKE, api, name)
        case ["wfpredict", name] if name:
            return Route(Call.WORKFLOW, api, name)
        case ["v1", "models", named] if named.endswith((":predict", ":explain")):
            name, _, verb = named.rpartition(":")
            return Route(Call.PREDICT if verb == "predict" else Call.EXPLAIN, api, name)
        case ["v2", "models", name, "infer" | "explain" as verb] if name:
            return Route(Call.PREDICT if verb == "infer" else Call.EXPLAIN, api, name)
        case ["v2", *rest] if open_protocol:
            return _open_protocol(rest)
        case [name, "predict"] if name not in ("models", "v1", "v2", ""):
            return Route(Call.PREDICT, api, name)
        case [name, version, "predict"] if name not in ("models", "v1", "v2", "") and version:
            return Route(Call.PREDICT, api, name, version)
    return None


def _open_protocol(rest: list[str]) -> Route | None:
    match rest:
        case []:
            return Route(Call.SERVER_METADATA, Api.INFERENCE)
        case ["health", "live"]:
            return Route(Call.LIVE, Api.INFERENCE)
        case ["health", "ready"]:
            return Route(Call.READY, Api.INFERENCE)
        case ["models", name, "versions", version, *_]:
            return Route(Call.VERSIONED, Api.INFERENCE, name, version)
    return None


def _management(  # noqa: PLR0911 - as above
    method: str, segments: list[str], *, model_api: bool
) -> Route | None:
    api = Api.MANAGEMENT
    match segments:
        case ["models"] | ["models", ""]:
            return _models(method, model_api=model_api)
        case ["models", name]:
            return _model(method, name, "", model_api=model_api)
        case ["models", name, version]:
            return _model(method, name, version, model_api=model_api)
        case ["models", name, version, "set-default"]:
            _require(method, "PUT")
            return Route(Call.SET_DEFAULT, api, name, version)
        case ["v1", "models", name] if name:
            _require(method, "GET")
            return Route(Call.MODEL_READY, api, name)
        case ["token"]:
            _require(method, "GET")
            return Route(Call.TOKEN, api)
        case ["workflows", *more] if len(more) <= 1:
            return Route(Call.WORKFLOWS, api, more[0] if more else "")
        case ["api-description"]:
            return Route(Call.DESCRIPTION, api)
    return None


def _models(method: str, *, model_api: bool) -> Route:
    if method == "GET":
        return Route(Call.LIST, Api.MANAGEMENT)
    if method == "POST" and model_api:
        return Route(Call.REGISTER, Api.MANAGEMENT)
    raise method_not_allowed()


def _model(method: str, name: str, version: str, *, model_api: bool) -> Route:
    calls = {"GET": Call.DESCRIBE, "PUT": Call.SCALE, "OPTIONS": Call.DESCRIBE_MANAGEMENT}
    if model_api:
        calls["DELETE"] = Call.UNREGISTER
    if method not in calls:
        raise method_not_allowed()
    return Route(calls[method], Api.MANAGEMENT, name, version)


def _require(method: str, wanted: str) -> None:
    if method != wanted:
        raise method_not_allowed()
