"""A bare ASGI callable under uvicorn, with httptools, uvloop, orjson, numpy and the model called in place.

`python -m benchmarks.yardsticks.asgi add_sub MODEL_FILE`, or `… identity`. No routing, no validation, no
queue, no thread.
"""

import socket
import sys
from typing import Any

import numpy as np
import orjson
import uvicorn

from benchmarks.yardsticks.add_sub import AddSub

_HEADER_LENGTH = b"inference-header-content-length"
_BACKLOG = 2048


class Json:
    """`add_sub` in JSON."""

    def __init__(self, model_file: str) -> None:
        self._model = AddSub(model_file)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """See ASGI."""
        body = self._model.json(await _read_body(receive))
        await _send(send, [(b"content-type", b"application/json")], [body])


async def identity(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """INPUT FP32 of any shape in binary, OUTPUT in binary."""
    body = memoryview(await _read_body(receive))
    header_length = int(dict(scope["headers"])[_HEADER_LENGTH])
    (tensor,) = orjson.loads(body[:header_length])["inputs"]
    array = np.frombuffer(body[header_length:], dtype=np.float32).reshape(tensor["shape"])
    output = {
        "name": "OUTPUT",
        "datatype": "FP32",
        "shape": array.shape,
        "parameters": {"binary_data_size": array.nbytes},
    }
    header = orjson.dumps({"model_name": "identity", "model_version": "1", "outputs": [output]})
    headers = [(b"content-type", b"application/octet-stream"), (_HEADER_LENGTH, b"%d" % len(header))]
    # uvicorn sizes a body with len(), which counts elements.
    await _send(send, headers, [header, array.data.cast("B")])


async def _read_body(receive: Any) -> bytes | bytearray:
    message = await receive()
    if not message.get("more_body"):
        return bytes(message["body"])
    body = bytearray(message["body"])
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return body


async def _send(send: Any, headers: list[tuple[bytes, bytes]], parts: list[bytes | memoryview]) -> None:
    length = (b"content-length", b"%d" % sum(map(len, parts)))
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    for number, part in enumerate(parts, 1):
        await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})


def main() -> None:
    """Serve until the process is ended."""
    app = Json(sys.argv[2]) if sys.argv[1] == "add_sub" else identity
    # The settings that the server gives uvicorn.
    config = uvicorn.Config(
        app, http="httptools", loop="uvloop", ws="none", lifespan="off", log_level="warning",
        access_log=False, proxy_headers=False, server_header=False, date_header=False, backlog=_BACKLOG,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as bound:
        print(f"REST http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
