"""Programs that are installed on their own: curl, nghttp, h2load, buf, perf_analyzer."""

import base64
import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.integration.support import json_tensor, statistics
from tests.interop.conftest import Peer

ROOT = Path(__file__).resolve().parent.parent.parent
BUF = ROOT / "tests" / "interop" / "npm" / "node_modules" / ".bin" / "buf"
PERF_ANALYZER = ROOT / ".venv-perf" / "bin" / "perf_analyzer"
CUDA_RUNTIME = sorted((ROOT / ".venv-perf").glob("lib/python*/site-packages/nvidia/cuda_runtime/lib"))

METHOD = "/inference.GRPCInferenceService/ModelInfer"
GRPC_HEADERS = {"content-type": "application/grpc", "te": "trailers"}
VALUES = np.array([1.5, -2, 3], np.float32)

pytestmark = pytest.mark.slow


def needs(program: str, install: str) -> pytest.MarkDecorator:
    """Skips where a program is not there."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}: {install}")


needs_curl = needs("curl", "apt-get install curl")
needs_nghttp2 = needs("h2load", "apt-get install nghttp2-client")
needs_buf = pytest.mark.skipif(
    shutil.which("node") is None or not BUF.exists(),
    reason="needs Node.js and @bufbuild/buf: apt-get install nodejs npm, then make test-interop",
)
needs_perf_analyzer = pytest.mark.skipif(
    not (PERF_ANALYZER.exists() and any(Path("/usr/lib").glob("*/libb64.so.0d"))),
    reason="needs perf_analyzer: apt-get install libb64-0d, then make test-interop (Linux on x86-64)",
)


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """What a program writes, to both of its streams; it must succeed."""
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, env=environment
    )
    text = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, text
    return text


def header_options(flag: str = "-H") -> list[str]:
    """The headers of a gRPC call on a command line."""
    return [part for name, value in GRPC_HEADERS.items() for part in (flag, f"{name}: {value}")]


@pytest.fixture(scope="session")
def message(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the body of one unary call: a length-prefixed ModelInferRequest."""
    path = tmp_path_factory.mktemp("message") / "request"
    path.write_bytes(framed("id"))
    return path


def framed(model: str) -> bytes:
    """A length-prefixed request."""
    request = pb.ModelInferRequest(model_name=model, raw_input_contents=[VALUES.tobytes()])
    request.inputs.add(name="IN", datatype="FP32", shape=VALUES.shape)
    content = request.SerializeToString()
    return struct.pack(">?I", False, len(content)) + content


def successes(peer: Peer) -> int:
    """How many requests the model has answered."""
    return int(statistics(peer.server, "id")["inference_stats"]["success"]["count"])


# --- curl ---------------------------------------------------------------------------------------------------


def curl(peer: Peer, *arguments: str) -> str:
    """Run curl, which trusts the server."""
    return run("curl", "-sS", *(["--cacert", str(peer.roots)] if peer.roots else []), *arguments)


@needs_curl
def test_curl_calls_grpc_by_hand(peer: Peer, message: Path, tmp_path: Path) -> None:
    body, head = tmp_path / "body", tmp_path / "head"
    version = "--http2" if peer.roots else "--http2-prior-knowledge"
    curl(
        peer, version, *header_options(), "--data-binary", f"@{message}",
        "-o", str(body), "-D", str(head), peer.grpc_url + METHOD,
    )  # fmt: skip
    # Where curl has its blank line between head and trailers depends on its version.
    lines = [line.strip() for line in head.read_text().splitlines() if line.strip()]
    assert lines == ["HTTP/2 200", "content-type: application/grpc", "grpc-status: 0"]
    content = body.read_bytes()
    assert struct.unpack(">?I", content[:5]) == (False, len(content) - 5)
    answer = pb.ModelInferResponse.FromString(content[5:])
    assert answer.raw_output_contents[0] == VALUES.tobytes()


@needs_curl
def test_curl_sees_the_status_of_an_error(peer: Peer, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_bytes(framed("50%"))
    version = "--http2" if peer.roots else "--http2-prior-knowledge"
    text = curl(
        peer, version, *header_options(), "--data-binary", f"@{request}", "-i", peer.grpc_url + METHOD
    )
    assert text.splitlines()[2:4] == [
        "grpc-status: 5", "grpc-message: Request for unknown model: '50%25' is not found"
    ]  # fmt: skip


@needs_curl
def test_curl_calls_rest(peer: Peer) -> None:
    body = json.dumps({"inputs": [json_tensor("IN", "FP32", [3], VALUES.tolist())]})
    answer = json.loads(curl(peer, "--http1.1", "-d", body, f"{peer.rest}/v2/models/id/infer"))
    assert answer["outputs"][0]["data"] == VALUES.tolist()


@needs_curl
def test_curl_asks_rest_for_http_2_and_gets_http_1(peer: Peer) -> None:
    """As an Upgrade in cleartext, by ALPN over TLS: both are answered over HTTP/1.1."""
    assert curl(peer, "--http2", "-w", "%{http_version}", f"{peer.rest}/v2/health/live").endswith("1.1")


# --- nghttp2 ------------------------------------------------------------------------------------------------


@needs_nghttp2
def test_nghttp(peer: Peer, message: Path) -> None:
    text = run("nghttp", "-v", *header_options(), "-d", str(message), peer.grpc_url + METHOD)
    assert re.findall(r"recv \(stream_id=\d+\) (\S+: \S+)", text) == [
        ":status: 200", "content-type: application/grpc", "grpc-status: 0"
    ]  # fmt: skip
    assert "RST_STREAM" not in text


@needs_nghttp2
@pytest.mark.parametrize("streams", [1, 20])
def test_h2load(peer: Peer, message: Path, streams: int) -> None:
    before = successes(peer)
    text = run(
        "h2load", "-n", "400", "-c", "4", "-m", str(streams), *header_options(),
        "-d", str(message), peer.grpc_url + METHOD,
    )  # fmt: skip
    assert "400 succeeded, 0 failed, 0 errored, 0 timeout" in text
    assert "status codes: 400 2xx" in text
    assert successes(peer) == before + 400


# --- buf curl: HTTP/2 of Go's library, and a client that learns the service by reflection, as grpcurl does -----------


def buf(peer: Peer, target: str, *options: str, exit_status: int = 0) -> tuple[str, str]:
    """Both streams of a run of `buf curl`."""
    trust = ["--cacert", str(peer.roots)] if peer.roots else ["--http2-prior-knowledge"]
    command = [str(BUF), "curl", "--protocol", "grpc", *trust, *options, f"{peer.grpc_url}{target}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == exit_status, ended.stderr
    return ended.stdout, ended.stderr


def buf_request(model: str, name: str, datatype: str, **contents: list[float]) -> str:
    """A ModelInferRequest as JSON."""
    (values,) = contents.values()
    tensor = {"name": name, "datatype": datatype, "shape": [len(values)], "contents": contents}
    return json.dumps({"model_name": model, "inputs": [tensor]})


@needs_buf
def test_buf_finds_the_services(peer: Peer) -> None:
    assert buf(peer, "", "--list-services")[0].split() == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]


@needs_buf
def test_buf_infers(peer: Peer) -> None:
    request = buf_request("id", "IN", "FP32", fp32_contents=VALUES.tolist())
    answer = json.loads(buf(peer, METHOD, "-d", request)[0])
    assert answer["modelName"] == "id"
    assert base64.b64decode(answer["rawOutputContents"][0]) == VALUES.tobytes()


@needs_buf
def test_buf_sees_the_status_of_an_error(peer: Peer) -> None:
    request = buf_request("50%", "IN", "FP32", fp32_contents=[1.0])
    # The exit status is eight times the code of the status.
    _, error = buf(peer, METHOD, "-d", request, exit_status=8 * 5)
    assert json.loads(error) == {
        "code": "not_found",
        "message": "Request for unknown model: '50%' is not found",
    }


@needs_buf
def test_buf_streams(peer: Peer) -> None:
    requests = [buf_request("count", "N", "INT32", int_contents=[number]) for number in (2, -1, 1)]
    method = METHOD.replace("ModelInfer", "ModelStreamInfer")
    decoder, text, found = json.JSONDecoder(), buf(peer, method, "-d", "".join(requests))[0].strip(), []
    while text:
        message, end = decoder.raw_decode(text)
        found.append(message.get("errorMessage") or message["inferResponse"]["rawOutputContents"])
        text = text[end:].strip()
    assert found == [["AAAAAA=="], ["AQAAAA=="], "there is no such number", ["AAAAAA=="]]


# --- perf_analyzer ------------------------------------------------------------------------------------------


def perf_analyzer(peer: Peer, protocol: str, *arguments: str) -> dict[str, str]:
    """One measurement that ends after 100 requests; returns the row of its report."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(CUDA_RUNTIME[0])}
    report = peer.server.log_path.with_name("perf_analyzer.csv")
    text = run(
        str(PERF_ANALYZER), "-m", "id", "--shape", "IN:3", "-i", protocol, "-f", str(report),
        "--measurement-mode", "count_windows", "--measurement-request-count", "100",
        "--concurrency-range", "4", "--max-trials", "3", "--stability-percentage", "999", *arguments,
        environment=environment,
    )  # fmt: skip
    assert "Failed" not in text
    names, values = report.read_text().splitlines()[:2]
    return dict(zip(names.split(","), values.split(","), strict=False))


@needs_perf_analyzer
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_perf_analyzer(peer: Peer, protocol: str, certificate: Path) -> None:
    before = successes(peer)
    address = peer.rest if protocol == "http" else peer.grpc
    trust: list[str] = []
    if peer.roots:
        option = "--ssl-https-ca-certificates-file"
        trust = (
            [option, str(peer.roots)]
            if protocol == "http"
            else ["--ssl-grpc-use-ssl", "--ssl-grpc-root-certifications-file", str(peer.roots)]
        )
    else:
        address = address.removeprefix("http://")
    row = perf_analyzer(peer, protocol, "-u", address, *trust)
    assert row["Concurrency"] == "4"
    assert float(row["Inferences/Second"]) > 0
    assert successes(peer) >= before + 100
