"""Expectations: what TorchServe 0.12 answers to these methods and paths."""

import pytest

from kserve_v2.torchserve_api.errors import TorchServeError
from kserve_v2.torchserve_api.routes import Api, Call, Route, route

I, M, X = Api.INFERENCE, Api.MANAGEMENT, Api.METRICS  # noqa: E741 - as the facts are written


@pytest.mark.parametrize(
    ("api", "method", "path", "expected"),
    [
        (I, "GET", "/ping", Route(Call.PING, I)),
        (I, "POST", "/predictions/m", Route(Call.PREDICT, I, "m")),
        (I, "GET", "/predictions/m", Route(Call.PREDICT, I, "m")),
        (I, "PUT", "/predictions/m/1.0", Route(Call.PREDICT, I, "m", "1.0")),
        (I, "DELETE", "/predictions/m/1.0/a/b", Route(Call.PREDICT, I, "m", "1.0", "a/b")),
        (I, "POST", "/predictions/a%20b", Route(Call.PREDICT, I, "a b")),
        (I, "OPTIONS", "/predictions/m", Route(Call.DESCRIBE_PREDICTION, I, "m")),
        (I, "POST", "/explanations/m/1.0", Route(Call.EXPLAIN, I, "m", "1.0")),
        (I, "GET", "/v1/models/m:predict", Route(Call.PREDICT, I, "m")),
        (I, "POST", "/v1/models/m:predict", Route(Call.PREDICT, I, "m")),
        (I, "POST", "/v1/models/m:explain", Route(Call.EXPLAIN, I, "m")),
        (I, "POST", "/v2/models/m/infer", Route(Call.PREDICT, I, "m")),
        (I, "POST", "/v2/models/m/explain", Route(Call.EXPLAIN, I, "m")),
        (I, "POST", "/invocations", Route(Call.INVOKE, I)),
        (I, "POST", "/models/m/invoke", Route(Call.INVOKE, I, "m")),
        (I, "POST", "/m/predict", Route(Call.PREDICT, I, "m")),
        (I, "POST", "/m/1.0/predict", Route(Call.PREDICT, I, "m", "1.0")),
        (I, "POST", "/wfpredict/w", Route(Call.WORKFLOW, I, "w")),
        (I, "OPTIONS", "/", Route(Call.DESCRIPTION, I)),
        (I, "GET", "/api-description", Route(Call.DESCRIPTION, I)),
        (M, "GET", "/models", Route(Call.LIST, M)),
        (M, "POST", "/models", Route(Call.REGISTER, M)),
        (M, "GET", "/models/m", Route(Call.DESCRIBE, M, "m")),
        (M, "GET", "/models/m/all", Route(Call.DESCRIBE, M, "m", "all")),
        (M, "PUT", "/models/m", Route(Call.SCALE, M, "m")),
        (M, "PUT", "/models/m/2.0", Route(Call.SCALE, M, "m", "2.0")),
        (M, "PUT", "/models/m/2.0/set-default", Route(Call.SET_DEFAULT, M, "m", "2.0")),
        (M, "DELETE", "/models/m/2.0", Route(Call.UNREGISTER, M, "m", "2.0")),
        (M, "OPTIONS", "/models/m", Route(Call.DESCRIBE_MANAGEMENT, M, "m")),
        (M, "GET", "/v1/models/m", Route(Call.MODEL_READY, M, "m")),
        (M, "GET", "/token", Route(Call.TOKEN, M)),
        (X, "GET", "/metrics", Route(Call.METRICS, X)),
        (X, "POST", "/metrics", Route(Call.METRICS, X)),
    ],
)
def test_finds_calls(api: Api, method: str, path: str, expected: Route) -> None:
    assert route([api], method, path) == expected
    # And at an address that all three share.
    if path != "/":
        assert route([I, M, X], method, path) == expected


@pytest.mark.parametrize(
    ("api", "method", "path", "code"),
    [
        (I, "GET", "/", 405),
        (I, "POST", "/", 405),
        (I, "POST", "/predictions", 404),
        (I, "POST", "/predictions/", 404),
        (I, "GET", "/models", 404),
        (I, "GET", "/v2/health/ready", 404),
        (I, "GET", "/v1/models/m", 404),
        (I, "GET", "/metrics", 404),
        (I, "GET", "/nosuch", 404),
        (M, "GET", "/metrics", 404),
        (M, "GET", "/ping", 404),
        (M, "PATCH", "/models/m", 405),
        (M, "DELETE", "/models", 405),
        (M, "POST", "/models/m/2.0/set-default", 405),
        (M, "GET", "/models/m/1.0/nosuch", 404),
        (X, "GET", "/models", 404),
    ],
)
def test_refuses_others(api: Api, method: str, path: str, code: int) -> None:
    with pytest.raises(TorchServeError) as caught:
        route([api], method, path)
    assert caught.value.code == code
    assert (caught.value.kind, caught.value.message) == {
        404: ("ResourceNotFoundException", "Requested resource is not found, please refer to API document."),
        405: ("MethodNotAllowedException", "Requested method is not allowed, please refer to API document."),
    }[code]


def test_models_are_registered_only_where_that_is_allowed() -> None:
    for method, path in (("POST", "/models"), ("DELETE", "/models/m"), ("DELETE", "/models/m/1.0")):
        with pytest.raises(TorchServeError) as caught:
            route([M], method, path, model_api=False)
        assert caught.value.code == 405
    for method, path in (("GET", "/models"), ("PUT", "/models/m"), ("PUT", "/models/m/1.0/set-default")):
        route([M], method, path, model_api=False)


def test_the_open_protocol_is_there_where_it_is_asked_for() -> None:
    assert route([I], "GET", "/v2", open_protocol=True).call is Call.SERVER_METADATA
    assert route([I], "GET", "/v2/health/live", open_protocol=True).call is Call.LIVE
    assert route([I], "GET", "/v2/health/ready", open_protocol=True).call is Call.READY
    assert route([I], "GET", "/v2/models/m/versions/1.0/ready", open_protocol=True).call is Call.VERSIONED
    for path in ("/v2/models/m", "/v2/models/m/ready"):
        with pytest.raises(TorchServeError):
            route([I], "GET", path, open_protocol=True)
