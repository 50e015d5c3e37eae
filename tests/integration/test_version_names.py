"""What is no version, and no label that there is, is an error that names it, over every protocol and on every route: it is
never answered by a version that looks like it.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.support import error_of, json_tensor

NO_NUMBER = "failed to get model version from specified version string '{}' (details: stol), version should be an integral value > 0"
BELOW = "invalid model version specified '{}' , version should be an integral value > 0"

VERSIONS = {
    **dict.fromkeys(
        ["1 ", " 1", "1\t", "+1", "1_0", "0_1", "1.0", "1x", "x y", "１", "²", "٣", "0x1", "1e0"], NO_NUMBER
    ),
    **dict.fromkeys(["-1", "-9"], BELOW),
    **dict.fromkeys(["9" * 30, "-" + "9" * 30], NO_NUMBER),
}

INFER = {"inputs": [json_tensor("IN", "FP32", [1, 3], [1, 2, 3])]}
PREDICT = {"inputs": [[1, 2, 3]]}

ROUTES: dict[str, tuple[str, Any]] = {
    "metadata": ("/v2/models/bat/versions/{}", None),
    "ready": ("/v2/models/bat/versions/{}/ready", None),
    "config": ("/v2/models/bat/versions/{}/config", None),
    "statistics": ("/v2/models/bat/versions/{}/stats", None),
    "infer": ("/v2/models/bat/versions/{}/infer", INFER),
    "generate": ("/v2/models/bat/versions/{}/generate", {"IN": [1, 2, 3]}),
    "generate_stream": ("/v2/models/bat/versions/{}/generate_stream", {"IN": [1, 2, 3]}),
    "v1 status": ("/v1/models/bat/versions/{}", None),
    "v1 metadata": ("/v1/models/bat/versions/{}/metadata", None),
    "v1 predict": ("/v1/models/bat/versions/{}:predict", PREDICT),
    "v1 label": ("/v1/models/bat/labels/{}:predict", PREDICT),
    "the page's form": ("/ui/models/bat/versions/{}", None),
    "the page's reasons": ("/ui/models/bat/versions/{}/explain", None),
}

RPCS: dict[str, Callable[[str], tuple[str, Any, Any]]] = {
    "ready": lambda version: ("ModelReady", pb.ModelReadyRequest(name="bat", version=version), pb.ModelReadyResponse),
    "metadata": lambda version: (
        "ModelMetadata", pb.ModelMetadataRequest(name="bat", version=version), pb.ModelMetadataResponse,
    ),
    "config": lambda version: (
        "ModelConfig", pb.ModelConfigRequest(name="bat", version=version), pb.ModelConfigResponse,
    ),
    "statistics": lambda version: (
        "ModelStatistics", pb.ModelStatisticsRequest(name="bat", version=version), pb.ModelStatisticsResponse,
    ),
    "infer": lambda version: (
        "ModelInfer",
        request_of("bat", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3]), model_version=version),
        pb.ModelInferResponse,
    ),
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_over_rest(server: RunningServer, route: str) -> None:
    path, body = ROUTES[route]

    def ask(version: str) -> Any:
        url = path.format(quote(version, safe=""))
        return server.get(url) if body is None else server.post(url, json=body)

    answers = {version: ask(version) for version in VERSIONS}
    assert {version: answer.status_code for version, answer in answers.items()} == dict.fromkeys(
        VERSIONS, 400
    )
    assert {version: error_of(answer) for version, answer in answers.items()} == {
        version: text.format(version) for version, text in VERSIONS.items()
    }
    assert ask("1").status_code == 200


@pytest.mark.parametrize("rpc", RPCS)
def test_over_grpc(channel: Channel, rpc: str) -> None:
    # Blanks and digits of other scripts go over the wire as they are.
    answers = {version: channel.fails(*RPCS[rpc](version)) for version in VERSIONS}
    assert answers == {
        version: (STATUS.INVALID_ARGUMENT, text.format(version)) for version, text in VERSIONS.items()
    }
    name, request, response = RPCS[rpc]("1")
    channel.method(name, response)(request)
