"""What became a vulnerability of TorchServe: a test for each, by its number; and what a stranger could try beside that."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import grpc
import pytest

from kserve_v2._generated import torchserve_inference_pb2 as inference_pb
from kserve_v2._generated import torchserve_management_pb2 as management_pb
from tests.torchserve_api.conftest import Server
from tests.torchserve_api.support import mar
from tests.torchserve_api.test_inference import error

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/x.mar",
        "http://127.0.0.1:22/x.mar",
        "https://example.org/x.mar",
        "ftp://127.0.0.1/x.mar",
        "s3://bucket/x.mar",
        "gopher://127.0.0.1/x.mar",
        "file:/etc/passwd",
    ],
)
def test_only_urls_that_are_allowed_are_fetched(server: Server, url: str) -> None:
    """CVE-2023-43654: by default, anything could be fetched, and run."""
    assert server.register(url).json() == error(
        404, "ModelNotFoundException", f"Given URL {url} does not match any allowed URL(s)"
    )


def test_a_file_url_stays_in_the_model_store(server: Server, tmp_path: Path, store: Path) -> None:
    """`allowed_urls` of this server has `file:///.*`."""
    outside = mar(tmp_path, "outside")
    (store / "link.mar").unlink(missing_ok=True)
    for url in (f"file://{outside}", "file:///etc/passwd", f"file://{store}"):
        assert server.register(url).json()["message"] == f"Given URL {url} does not match any allowed URL(s)"
    for name in (str(outside), f"/{outside}", ".hidden.mar", "%2e%2e/x.mar", "a/%2E%2E/b.mar"):
        assert server.register(name).status_code == 404


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///a%00.mar", "ModelNotFoundException"),
        (f"file:///{'a' * 300}.mar", "ModelNotFoundException"),
        ("http://[::1/x.mar", "ModelNotFoundException"),
        ("a\0.mar", "ModelNotFoundException"),
        ("a" * 3000, "ModelNotFoundException"),
    ],
)
def test_a_url_that_is_none_is_the_client_s_fault(server: Server, url: str, kind: str) -> None:
    answer = server.register(url)
    assert (answer.status_code, answer.json()["type"]) == (404, kind)


def test_an_allowed_prefix_leads_nowhere_else(
    server: Server, web: tuple[str, Path, list[str]], store: Path
) -> None:
    """CVE-2024-35198: `..` got around allowed_urls, and what was downloaded once could be registered by its name."""
    url, _, asked = web
    before = len(asked)
    for path in ("a/../fetched.mar", "a/..%2ffetched.mar", "a/%2e%2e/fetched.mar"):
        answer = server.register(f"{url}/{path}")
        assert answer.json()["message"] == f"Relative path is not allowed in url: {url}/{path}"
    assert len(asked) == before
    assert {path.name for path in store.iterdir()} == {
        "echo.mar", "lab.mar", "parts.mar", "echo2.mar", "broken.mar", "asks.mar", "junk.mar",
    }  # fmt: skip


def test_no_archive_leaves_its_folder(server: Server, store: Path, tmp_path: Path) -> None:
    """CVE-2023-48299: a member `../../x` was written there."""
    path = mar(store, "slip")
    target = tmp_path / "written"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../" * 12 + str(target).lstrip("/"), "x")
    try:
        answer = server.register("slip.mar", initial_workers=1, synchronous="true")
        assert answer.status_code == 500
        assert not target.exists()
        assert server.management.get("/models/slip").status_code == 404
    finally:
        path.unlink()


@pytest.mark.parametrize(
    "yaml",
    [
        "minWorkers: !!python/object/apply:os.system ['touch PWNED']\n",
        "handler: !!javax.script.ScriptEngineManager [!!java.net.URL ['http://127.0.0.1/']]\n",
    ],
)
def test_yaml_of_an_archive_is_read_and_never_run(server: Server, store: Path, yaml: str) -> None:
    """CVE-2022-1471: SnakeYAML made objects of whatever class a file named."""
    path = mar(store, "tagged", yaml=yaml)
    try:
        answer = server.register("tagged.mar", initial_workers=1, synchronous="true")
        assert (answer.status_code, answer.json()["type"]) == (400, "InvalidModelException")
    finally:
        path.unlink()


def test_nothing_is_open_by_default(tmp_path: Path) -> None:
    """CVE-2024-35199: gRPC listened on all interfaces; and the management API let anybody register models."""
    mar(tmp_path, "m")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TS_")}
    code = (
        "from pathlib import Path; from kserve_v2.torchserve_api.config import *;"
        "config, _ = load_config(Given(model_store=Path('.')), {}, Path('.'));"
        "print(config.inference_address, config.management_address, config.metrics_address,"
        "config.grpc_inference_address, config.grpc_management_address, config.enable_model_api, config.allowed_urls)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "http://127.0.0.1:8080 http://127.0.0.1:8081 http://127.0.0.1:8082 127.0.0.1 127.0.0.1 False ()\n"
    )


class TestClosed:
    """A server with tokens, and without the API for models."""

    @staticmethod
    def keys(closed: Server) -> dict[str, str]:
        path = closed.running.log_path.parent / "key_file.json"
        return {kind: f"Bearer {each['key']}" for kind, each in json.loads(path.read_text()).items()}

    def test_tokens(self, closed: Server) -> None:
        keys = self.keys(closed)
        refused = error(
            400,
            "InvalidKeyException",
            "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
        )
        for client, path, kind in (
            (closed.inference, "/predictions/named", "inference"),
            (closed.inference, "/api-description", "inference"),
            (closed.management, "/models", "management"),
        ):
            for headers in ({}, {"authorization": keys["API"]}, {"authorization": "Bearer x"}):
                assert client.get(path, headers=headers).json() == refused
            assert client.get(path, headers={"authorization": keys[kind]}).status_code == 200
        assert closed.metrics.get("/metrics").status_code == 200
        answer = closed.management.get("/token?type=inference", headers={"authorization": keys["API"]})
        assert (answer.status_code, answer.text) == (200, "\n")
        assert closed.inference.get("/ping", headers={"authorization": keys["inference"]}).status_code == 400
        keys = self.keys(closed)
        assert closed.inference.get("/ping", headers={"authorization": keys["inference"]}).status_code == 500
        answer = closed.management.get("/token?type=inference", headers={"authorization": keys["management"]})
        assert answer.json()["message"].startswith("Token Authentication failed. ")

    def test_tokens_over_grpc(self, closed: Server) -> None:
        keys = self.keys(closed)
        with grpc.insecure_channel(closed.running.urls["TorchServe gRPC inference"]) as channel:
            ping = channel.unary_unary(
                "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping",
                inference_pb.PingRequest.SerializeToString,
                inference_pb.TorchServeHealthResponse.FromString,
            )
            with pytest.raises(grpc.RpcError) as caught:
                ping(inference_pb.PingRequest())
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            answer = ping(inference_pb.PingRequest(), metadata=[("authorization", keys["inference"])])
            assert answer.health == '{\n  "status": "Unhealthy"\n}'

    def test_models_are_not_registered(self, closed: Server) -> None:
        headers = {"authorization": self.keys(closed)["management"]}
        refused = error(
            405, "MethodNotAllowedException", "Requested method is not allowed, please refer to API document."
        )
        assert closed.management.post("/models?url=echo2.mar", headers=headers).json() == refused
        assert closed.management.delete("/models/named", headers=headers).json() == refused
        assert closed.management.get("/models/named", headers=headers).status_code == 200
        with grpc.insecure_channel(closed.running.urls["TorchServe gRPC management"]) as channel:
            register = channel.unary_unary(
                "/org.pytorch.serve.grpc.management.ManagementAPIsService/RegisterModel",
                management_pb.RegisterModelRequest.SerializeToString,
                management_pb.ManagementResponse.FromString,
            )
            with pytest.raises(grpc.RpcError):
                register(
                    management_pb.RegisterModelRequest(url="echo2.mar"),
                    metadata=[("authorization", headers["authorization"])],
                )
        listed = closed.management.get("/models", headers=headers).json()["models"]
        assert [each["modelName"] for each in listed] == ["broken", "named"]

    def test_the_models_of_a_snapshot(self, closed: Server) -> None:
        keys = self.keys(closed)
        headers = {"authorization": keys["management"]}
        [found] = closed.management.get("/models/named", headers=headers).json()
        assert (found["modelVersion"], found["modelUrl"], found["loadedAtStartup"]) == (
            "2.0",
            "lab.mar",
            True,
        )
        both = closed.management.get("/models/named/all", headers=headers).json()
        assert [each["modelVersion"] for each in both] == ["1.0", "2.0"]
        # A handler knows its model by the name that it is registered under.
        headers = {"authorization": keys["inference"]}
        told = closed.inference.post("/predictions/named/2.0", content=b"name", headers=headers)
        assert told.text == "named"

    def test_a_model_without_its_workers_is_told(self, closed: Server) -> None:
        keys = self.keys(closed)
        answer = closed.inference.get("/ping", headers={"authorization": keys["inference"]})
        assert (answer.status_code, answer.json()) == (500, {"status": "Unhealthy"})
        [found] = closed.management.get(
            "/models/broken", headers={"authorization": keys["management"]}
        ).json()
        assert (found["minWorkers"], found["workers"][0]["status"], found["workers"][0]["pid"]) == (
            1,
            "UNLOADING",
            -1,
        )
        answer = closed.inference.post("/predictions/broken", headers={"authorization": keys["inference"]})
        assert (answer.status_code, answer.json()["type"]) == (503, "ServiceUnavailableException")

    def test_cors_is_on_every_answer(self, closed: Server) -> None:
        for answer in (
            closed.inference.get("/ping"),
            closed.inference.options("/nosuch"),
            closed.metrics.get("/metrics"),
        ):
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            assert answer.headers["access-control-allow-methods"] == "GET, POST"
            assert "access-control-allow-headers" not in answer.headers

    def test_the_open_inference_protocol(self, closed: Server) -> None:
        headers = {"authorization": self.keys(closed)["inference"]}

        def get(path: str) -> tuple[int, object]:
            answer = closed.inference.get(path, headers=headers)
            return answer.status_code, answer.json()

        assert get("/v2") == (
            200, {"name": "Torchserve", "version": "0.12.0", "extenstion": ["kserve", "kubeflow"]},
        )  # fmt: skip
        assert get("/v2/health/live") == (200, {"live": True})
        assert get("/v2/health/ready")[0] == 500
        assert get("/v2/models/named")[0] == 404
        assert get("/v2/models/named/versions/1.0/ready") == (
            501, {"error": "Model versioning is not yet supported."},
        )  # fmt: skip

    def test_json_stays_as_it_is(self, closed: Server) -> None:
        headers = {"authorization": self.keys(closed)["inference"]}
        answer = closed.inference.post("/predictions/named/1.0", json={"a": 1}, headers=headers)
        assert answer.json() == {"body": '{"a":1}'}


def test_pages_of_other_sites_change_nothing(server: Server) -> None:
    """A browser would send such a request for any page; the address is of this machine alone."""
    for headers in (
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        # A name of theirs that they have made to point here.
        {"origin": "http://evil.example:8081", "host": "evil.example:8081"},
    ):
        answer = server.management.post("/models?url=echo2.mar&model_name=evil", headers=headers)
        assert answer.status_code == 403
    assert server.management.get("/models/evil").status_code == 404
    assert server.management.get("/models", headers={"origin": "https://evil.example"}).status_code == 200
