"""tritonclient's four clients: python tritonclients.py GRPC_ADDRESS REST_ADDRESS ROOTS; prints results as JSON."""

import asyncio
import inspect
import json
import ssl
import sys
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio

VALUES = np.array([1.5, -2, 3], np.float32)


async def ask(module: ModuleType, address: str, options: dict[str, Any]) -> Any:
    """One request through a client of `module`."""
    client = module.InferenceServerClient(address, **options)
    tensor = module.InferInput("IN", list(VALUES.shape), "FP32")
    tensor.set_data_from_numpy(VALUES)
    answer = await _result(client.infer("id", [tensor]))
    await _result(client.close())
    return answer.as_numpy("OUT").tolist()


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def main(grpc_address: str, rest_address: str, roots: str) -> None:
    grpc_options: dict[str, Any] = {"ssl": True, "root_certificates": roots} if roots else {}
    http, http_aio = {}, {}
    if roots:
        context = ssl.create_default_context(cafile=roots)
        http = {"ssl": True, "ssl_context_factory": lambda: context}
        http_aio = {"ssl": True, "ssl_context": context}
    results = {
        "http": await ask(tritonclient.http, rest_address, http),
        "http.aio": await ask(tritonclient.http.aio, rest_address, http_aio),
        "grpc": await ask(tritonclient.grpc, grpc_address, grpc_options),
        "grpc.aio": await ask(tritonclient.grpc.aio, grpc_address, grpc_options),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
