"""What KServe's own clients make of a server; run in their environment, in a process of their own.

    python kserve_calls.py http://127.0.0.1:8000 127.0.0.1:8001

Prints one JSON object: for each call its result, or the text of the error that it raised.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferResponse, RequestedOutput


def request(
    model: str, datatype: str, array: Any, *, binary: bool, binary_outputs: bool = False
) -> InferRequest:
    """A request with the one input IN, for which OUT is asked for explicitly if it is to be binary."""
    tensor = InferInput("IN", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    outputs = [RequestedOutput("OUT", {"binary_data": True})] if binary_outputs else []
    return InferRequest(model, [tensor], request_id="k-1", request_outputs=outputs)


def summary(response: InferResponse) -> dict[str, Any]:
    """What is compared of an answer."""
    [output] = response.outputs
    values = output.as_numpy()
    data = [value.decode() if isinstance(value, bytes) else value for value in values.reshape(-1).tolist()]
    return {
        "model": response.model_name,
        "id": response.id,
        "datatype": output.datatype,
        "shape": output.shape,
        "data": data,
    }


async def outcome(call: Awaitable[Any]) -> Any:
    """The result of a call, or what its error says."""
    try:
        result = await call
    except httpx.HTTPStatusError as error:
        return {"error": str(error), "status": error.response.status_code}
    except grpc.RpcError as error:
        return {"error": error.details(), "status": error.code().name}
    return summary(result) if isinstance(result, InferResponse) else result


FP32 = np.array([[1.5, 2.0, 3.0]], np.float32)
FP16 = np.array([1.5, -2.0], np.float16)
TEXT = np.array([b"a", "ŝ".encode(), b""], np.object_)


async def rest(url: str) -> dict[str, Any]:
    """Every call of the REST client."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))

    def infer(model: str, data: Any) -> Awaitable[Any]:
        return outcome(client.infer(url, data, model_name=model))

    results = {
        "live": await outcome(client.is_server_live(url)),
        "ready": await outcome(client.is_server_ready(url)),
        "model ready": await outcome(client.is_model_ready(url, "bat")),
        "unknown model ready": await outcome(client.is_model_ready(url, "nosuch")),
        "json": await infer("bat", request("bat", "FP32", FP32, binary=False)),
        "binary": await infer("bat", request("bat", "FP32", FP32, binary=True)),
        "binary both ways": await infer(
            "bat", request("bat", "FP32", FP32, binary=True, binary_outputs=True)
        ),
        "half precision": await infer(
            "id_fp16", request("id_fp16", "FP16", FP16, binary=True, binary_outputs=True)
        ),
        "strings in json": await infer("id_bytes", request("id_bytes", "BYTES", TEXT, binary=False)),
        "strings in binary": await infer(
            "id_bytes", request("id_bytes", "BYTES", TEXT, binary=True, binary_outputs=True)
        ),
        "unknown model": await infer("nosuch", request("nosuch", "FP32", FP32, binary=False)),
        "wrong shape": await infer("bat", request("bat", "FP32", FP32.reshape(3, 1), binary=False)),
        "malformed": await infer("bat", {"inputs": 7}),
    }
    await client.close()
    return results


async def v1(url: str) -> dict[str, Any]:
    """Every call of the REST client with the v1 protocol, which is its default."""
    client = InferenceRESTClient(RESTConfig(timeout=60))

    def predict(model: str, data: Any) -> Awaitable[Any]:
        return outcome(client.infer(url, data, model_name=model))

    results = {
        "live": await outcome(client.is_server_live(url)),
        "model ready": await outcome(client.is_model_ready(url, "bat")),
        "unknown model ready": await outcome(client.is_model_ready(url, "nosuch")),
        "rows": await predict("bat", {"instances": FP32.tolist()}),
        "columns": await predict("bat", {"inputs": {"IN": FP32.tolist()}}),
        "half precision": await predict("id_fp16", {"instances": FP16.tolist()}),
        "strings": await predict("id_bytes", {"instances": ["a", {"b64": "/w=="}]}),
        "unknown model": await predict("nosuch", {"instances": [1]}),
        "malformed": await predict("bat", {"instances": 7}),
        "explain": await outcome(client.explain(url, "bat", {"instances": [[1]]})),
    }
    await client.close()
    return results


async def grpc_calls(address: str) -> dict[str, Any]:
    """Every call of the gRPC client."""
    async with InferenceGRPCClient(address) as client:
        return {
            "live": await outcome(client.is_server_live()),
            "ready": await outcome(client.is_server_ready()),
            "model ready": await outcome(client.is_model_ready("bat")),
            "unknown model ready": await outcome(client.is_model_ready("nosuch")),
            "contents": await outcome(client.infer(request("bat", "FP32", FP32, binary=False))),
            "raw": await outcome(client.infer(request("bat", "FP32", FP32, binary=True))),
            "half precision": await outcome(client.infer(request("id_fp16", "FP16", FP16, binary=True))),
            "strings in contents": await outcome(
                client.infer(request("id_bytes", "BYTES", TEXT, binary=False))
            ),
            "unknown model": await outcome(client.infer(request("nosuch", "FP32", FP32, binary=True))),
            "wrong shape": await outcome(
                client.infer(request("bat", "FP32", FP32.reshape(3, 1), binary=True))
            ),
        }


async def main() -> None:
    """See the module's docstring."""
    url, address = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    results = {"rest": await rest(url), "v1": await v1(url), "grpc": await grpc_calls(address)}
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
