"""BYTES tensors of very many elements, which are read and written in slices, are answered as small ones are; and so is
what is wrong with them.
"""

import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.tensors.strings import encode_bytes_tensor
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import identity
from tests.integration.support import error_of, metric, wait_until

pytestmark = pytest.mark.slow

TEXTS = ["", "é", '"quoted", and so on', "\\", "]", *(f"text {number}" for number in range(40_000))]
WORDS = [text.encode() for text in TEXTS]
NO_TEXTS = [b"\xff\xfe", *WORDS]
RAW = encode_bytes_tensor(WORDS)
COUNT = len(TEXTS)
# What a model makes itself, and what it keeps.
MAKES = """
class Model:
    inputs = {"IN": ("BYTES", [-1])}
    outputs = {"OUT": ("BYTES", [-1])}
    kept = None
    def __call__(self, inputs):
        import numpy as np
        before, self.kept = self.kept, inputs["IN"]
        made = np.empty(inputs["IN"].shape, object)
        made[:] = [each + b"!" for each in inputs["IN"].tolist()]
        return {"OUT": made}
"""


@pytest.fixture(scope="module", params=["usual", "asgi", "two processes"])
def server(
    request: pytest.FixtureRequest,
    start_server: StartServer,
    write_model: WriteModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("texts")
    write_model(root, "echo", identity("BYTES", [-1]))
    write_model(root, "rows", identity("BYTES", [5], 1_000_000))
    write_model(root, "makes", MAKES)
    write_model(root, "numbers", identity("FP32", [-1]))
    flags = {
        "usual": "--processes=1", "asgi": "--http-fast-lane=false", "two processes": "--processes=2",
    }  # fmt: skip
    server = start_server(root, flags[request.param])
    yield server
    wait_until(lambda: metric(server, "kserve_v2_inflight_bytes") == 0)


def item(**more: Any) -> dict[str, Any]:
    return {"name": "IN", "datatype": "BYTES", "shape": [COUNT], **more}


def post(server: RunningServer, path: str, body: bytes, **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.post(
        server.urls["REST"] + path, content=body, headers={"accept-encoding": "identity", **headers}
    )


def binary(
    server: RunningServer,
    raw: bytes = RAW,
    shape: int = COUNT,
    *,
    model: str = "echo",
    back: bool = True,
    packs: bool = False,
) -> httpx.Response:
    """Ask with raw data. `packs`: what is sent, and what comes."""
    described = item(shape=[shape], parameters={"binary_data_size": len(raw)})
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": back}}).encode()
    more = {"content_encoding": "gzip", "accept_encoding": "gzip"} if packs else {}
    body = gzip.compress(head + raw) if packs else head + raw
    path = f"/v2/models/{model}/infer"
    return post(server, path, body, inference_header_content_length=str(len(head)), **more)


def raw_output(response: httpx.Response) -> bytes:
    assert response.status_code == 200, response.text
    length = int(response.headers["inference-header-content-length"])
    [output] = json.loads(response.content[:length])["outputs"]
    raw = response.content[length:]
    assert output["shape"] == [COUNT]
    assert output["parameters"]["binary_data_size"] == len(raw)
    return raw


def texts(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["outputs"][0]["data"]


@pytest.mark.parametrize("packs", [False, True])
def test_raw_and_in_json(server: RunningServer, packs: bool) -> None:
    assert raw_output(binary(server, packs=packs)) == RAW
    assert texts(binary(server, back=False, packs=packs)) == TEXTS
    for ascii_only in (False, True):
        document = {"inputs": [item(data=TEXTS)], "id": "large"}
        body = json.dumps(document, ensure_ascii=ascii_only).encode()
        response = post(server, "/v2/models/echo/infer", body)
        assert texts(response) == TEXTS
        assert response.json()["id"] == "large"
    document["parameters"] = {"binary_data_output": True}
    assert raw_output(post(server, "/v2/models/echo/infer", json.dumps(document).encode())) == RAW


def test_what_a_model_makes_and_keeps(server: RunningServer) -> None:
    for _ in range(3):
        made = raw_output(binary(server, model="makes"))
        assert made == encode_bytes_tensor([word + b"!" for word in WORDS])


def test_rows(server: RunningServer) -> None:
    rows = [TEXTS[at : at + 5] for at in range(0, COUNT - 4, 5)]
    body = json.dumps({"instances": rows}).encode()
    response = post(server, "/v1/models/rows:predict", body)
    assert response.json()["predictions"] == rows
    response = post(server, "/v2/models/rows/generate", json.dumps({"IN": rows}).encode())
    assert response.json()["OUT"] == rows


@pytest.mark.parametrize(
    ("path", "document", "output"),
    [
        ("/v2/models/echo/infer_stream", {"inputs": [item(data=TEXTS)]}, "outputs"),
        ("/v2/models/echo/generate", {"IN": TEXTS}, "OUT"),
        ("/v2/models/echo/generate_stream", {"IN": TEXTS}, "OUT"),
        ("/v1/models/echo:predict", {"inputs": TEXTS}, "outputs"),
        ("/v1/models/echo:predict", {"instances": TEXTS}, "predictions"),
    ],
)
def test_other_forms(server: RunningServer, path: str, document: Any, output: str) -> None:
    response = post(server, path, json.dumps(document).encode())
    assert response.status_code == 200, response.text
    found = json.loads(response.text.removeprefix("data: "))[output]
    assert (found[0]["data"] if path.endswith("infer_stream") else found) == TEXTS


def test_bytes_that_are_no_texts(server: RunningServer) -> None:
    raw = encode_bytes_tensor(NO_TEXTS)
    assert binary(server, raw, COUNT + 1).content.endswith(raw)
    refused = binary(server, raw, COUNT + 1, back=False)
    assert refused.status_code == 400
    assert "output 'OUT' has an element that is not UTF-8" in error_of(refused)
    coded = json.dumps({"IN": [{"b64": "//4="}, *TEXTS]}).encode()
    assert post(server, "/v2/models/echo/generate", coded).json()["OUT"] == [{"b64": "//4="}, *TEXTS]


@pytest.mark.parametrize(
    ("raw", "shape", "said"),
    [
        (RAW[:-1], COUNT, "expecting string of length 10 but only 9 bytes available"),
        (RAW + b"\1", COUNT, "expecting 4 bytes but only 1 bytes available"),
        (RAW + b"\4\0\0\0abc", COUNT, "expecting string of length 4 but only 3 bytes available"),
        (RAW, COUNT + 1, f"expected {COUNT + 1} string elements"),
        (RAW, COUNT - 1, f"unexpected number of string elements {COUNT}"),
        (bytes(400_000), COUNT, "unexpected number of string elements 100000"),
        (b"\xff" * 400_000, COUNT, "expecting string of length 4294967295"),
    ],
)
def test_what_is_wrong_with_raw_data(server: RunningServer, raw: bytes, shape: int, said: str) -> None:
    response = binary(server, raw, shape)
    assert response.status_code == 400
    assert said in error_of(response)
    with Channel(server) as channel:
        code, details = channel.infer_fails(message(raw, shape))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert said in details
        [answer] = channel.stream(message(raw, shape))
        assert said in answer.error_message
    assert raw_output(binary(server)) == RAW


def test_what_is_wrong_with_json(server: RunningServer) -> None:
    def refused(model: str, document: Any) -> str:
        response = post(server, f"/v2/models/{model}/infer", json.dumps(document).encode())
        assert response.status_code == 400
        return error_of(response)

    mixed = [*TEXTS, 1]
    assert "non-string as string" in refused("echo", {"inputs": [item(shape=[COUNT + 1], data=mixed)]})
    assert f"expected {COUNT + 1} string" in refused(
        "echo", {"inputs": [item(shape=[COUNT + 1], data=TEXTS)]}
    )
    numbers = {"name": "IN", "datatype": "FP32", "shape": [COUNT], "data": TEXTS}
    assert "non-number as double" in refused("numbers", {"inputs": [numbers]})
    numbers = {"name": "IN", "datatype": "FP32", "shape": [90_001], "data": [*range(90_000), "1"]}
    assert "non-number as double" in refused("numbers", {"inputs": [numbers]})
    response = post(
        server, "/v1/models/numbers:predict", json.dumps({"inputs": [*range(90_000), "1"]}).encode()
    )
    assert (
        "JSON Value: \"1\" Type: String is not of expected type: float (input 'IN', element 90000)"
        in error_of(response)
    )


# --- gRPC ---------------------------------------------------------------------------------------------------------


def message(
    raw: bytes | None = RAW, shape: int = COUNT, *, model: str = "echo", **fields: Any
) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="IN", datatype="BYTES", shape=[shape])
    if raw is None:
        tensor.contents.bytes_contents.extend(WORDS)
        return pb.ModelInferRequest(model_name=model, inputs=[tensor], **fields)
    return pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[raw], **fields)


@pytest.mark.parametrize("raw", [RAW, None])
def test_grpc(server: RunningServer, raw: bytes | None) -> None:
    with Channel(server) as channel:
        for number in range(2):
            answer = channel.infer(message(raw, id=str(number)))
            assert answer.raw_output_contents == [RAW]
            assert answer.id == str(number)
            assert answer.outputs[0].shape == [COUNT]
        answer = channel.infer(message(raw, model="makes"))
        assert answer.raw_output_contents == [encode_bytes_tensor([word + b"!" for word in WORDS])]


def test_a_stream_answers_in_order(server: RunningServer) -> None:
    small = message(encode_bytes_tensor([b"a", b""]), 2, id="small")
    requests = [message(id="raw"), small, message(None, id="typed"), small, message(RAW[:-1], id="wrong")]
    with Channel(server) as channel:
        answers = channel.stream(*requests)
    assert [answer.infer_response.id for answer in answers] == ["raw", "small", "typed", "small", "wrong"]
    assert [list(answer.infer_response.raw_output_contents) for answer in answers] == [
        [RAW], [encode_bytes_tensor([b"a", b""])], [RAW], [encode_bytes_tensor([b"a", b""])], [],
    ]  # fmt: skip
    assert [bool(answer.error_message) for answer in answers] == [False] * 4 + [True]


def test_what_is_wrong_with_typed_contents(server: RunningServer) -> None:
    with Channel(server) as channel:
        code, details = channel.infer_fails(message(None, COUNT + 1))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert f"expected {COUNT + 1} string elements" in details
        wrong = message(None)
        wrong.inputs[0].datatype = "FP32"
        code, details = channel.infer_fails(wrong)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "bytes_contents is filled" in details
        code, details = channel.infer_fails(message(None, model="nobody"))
        assert "unknown model" in details


# --- clients that leave -------------------------------------------------------------------------------------------


def test_clients_that_leave(server: RunningServer) -> None:
    """What they have sent is let go: the fixture looks at that."""
    place = httpx.URL(server.urls["REST"])
    described = item(parameters={"binary_data_size": len(RAW)})
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    for _ in range(5):
        with socket.create_connection((place.host, place.port), timeout=60) as connection:
            lines = f"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(head) + len(RAW)}\r\n"
            lines += f"inference-header-content-length: {len(head)}\r\n\r\n"
            connection.sendall(lines.encode() + head + RAW)
    with Channel(server, own=True) as channel:
        for request in (message(), message(None)) * 3:
            call = channel.method("ModelInfer", pb.ModelInferResponse).future(request, timeout=60)
            call.cancel()
    assert raw_output(binary(server)) == RAW
    with Channel(server) as channel:
        assert channel.infer(message()).raw_output_contents == [RAW]
