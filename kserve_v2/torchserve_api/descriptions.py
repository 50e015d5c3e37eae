"""OpenAPI descriptions of the APIs, as far as clients of TorchServe read them: the paths, and what they are for."""

from typing import Any

from kserve_v2.torchserve_api.routes import Api

_NAME = {"in": "path", "name": "model_name", "required": True, "schema": {"type": "string"}}
_VERSION = {"in": "path", "name": "model_version", "required": True, "schema": {"type": "string"}}

_CALLS: dict[Api, tuple[tuple[str, str, str, str], ...]] = {
    Api.INFERENCE: (
        ("/ping", "get", "ping", "Whether the server is well."),
        ("/predictions/{model_name}", "post", "predictions", "The prediction of the default version of a model."),
        (
            "/predictions/{model_name}/{model_version}", "post", "version_predictions",
            "The prediction of a version of a model.",
        ),
        ("/explanations/{model_name}", "post", "explanations", "The explanation of a model."),
        ("/v1/models/{model_name}:predict", "post", "predict", "A prediction in KServe's v1 protocol."),
        ("/v2/models/{model_name}/infer", "post", "infer", "A prediction in KServe's v2 protocol."),
        ("/api-description", "get", "apiDescription", "This description."),
    ),
    Api.MANAGEMENT: (
        ("/models", "get", "listModels", "The models that are registered, in pages."),
        ("/models", "post", "registerModel", "Register a model."),
        ("/models/{model_name}", "get", "describeModel", "What is known of a model, and of its workers."),
        ("/models/{model_name}", "put", "setAutoScale", "Have another number of workers."),
        ("/models/{model_name}", "delete", "unregisterModel", "Unregister a model."),
        ("/models/{model_name}/{model_version}", "get", "version_describeModel", "The same of a version."),
        ("/models/{model_name}/{model_version}/set-default", "put", "setDefault", "Have a version be the default."),
    ),
    Api.METRICS: (("/metrics", "get", "metrics", "All metrics, for Prometheus; ?name[]=… for some."),),
}  # fmt: skip


def api_description(api: Api) -> dict[str, Any]:
    """Of one API."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation, text in _CALLS[api]:
        paths.setdefault(path, {})[method] = _operation(operation, text, path)
    return _document(paths)


def model_description(name: str, api: Api) -> dict[str, Any]:
    """Of one model."""
    if api is Api.MANAGEMENT:
        calls = [each for each in _CALLS[api] if each[0] == "/models/{model_name}"]
        paths: dict[str, dict[str, Any]] = {f"/models/{name}": {}}
        for _, method, operation, text in calls:
            paths[f"/models/{name}"][method] = _operation(operation, text, "")
        return _document(paths)
    path = f"/predictions/{name}"
    return _document({path: {"post": _operation("predict", f"A prediction of model {name}.", "")}})


def _document(paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"openapi": "3.0.1", "info": {"title": "TorchServe APIs", "version": "0.12.0"}, "paths": paths}


def _operation(operation: str, text: str, path: str) -> dict[str, Any]:
    parameters = [_NAME] if "{model_name}" in path else []
    if "{model_version}" in path:
        parameters.append(_VERSION)
    return {
        "operationId": operation,
        "description": text,
        "parameters": parameters,
        "responses": {"200": {"description": "As described"}, "default": {"description": "An error"}},
    }
