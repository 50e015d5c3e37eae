"""Requests to the REST port, and the reading of their answers."""

import json
from typing import Any

import httpx

from tests.conftest import RunningServer
from tests.integration.support import json_tensor

HEADER_LENGTH = "Inference-Header-Content-Length"

IN = json_tensor("IN", "FP32", [1, 3], [1, 2, 3])


def output_of(response: httpx.Response) -> dict[str, Any]:
    """The only output of an answer."""
    assert response.status_code == 200, response.text
    [output] = response.json()["outputs"]
    return dict(output)


def post_text(server: RunningServer, model: str, text: str) -> httpx.Response:
    """An inference request whose body is written out."""
    return server.post(f"/v2/models/{model}/infer", content=text.encode())


def post_binary(
    server: RunningServer, model: str, header: dict[str, Any], data: bytes, length: str | None = None
) -> httpx.Response:
    """An inference request with binary data; `length`: the announced length of the JSON, the true one by default."""
    text = json.dumps(header).encode()
    headers = {HEADER_LENGTH: length or str(len(text))}
    return server.post(f"/v2/models/{model}/infer", content=text + data, headers=headers)


def one_element(datatype: str, text: str) -> str:
    """The body of a request to an identity model with one element."""
    return f'{{"inputs":[{{"name":"IN","datatype":"{datatype}","shape":[1],"data":[{text}]}}]}}'


def read_binary(response: httpx.Response) -> tuple[dict[str, Any], bytes]:
    """The JSON of a binary answer, and what follows it."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[HEADER_LENGTH])
    return json.loads(response.content[:length]), response.content[length:]


def padded(size: int) -> bytes:
    """A good request of exactly `size` bytes."""
    return json.dumps({"inputs": [IN]}).encode().ljust(size)
