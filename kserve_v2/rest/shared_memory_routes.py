"""The routes of the shared memory extensions: register, unregister and list regions, system and CUDA."""

from base64 import b64decode
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.regions import CudaRegions, SharedMemoryRegions, check_raw_handle
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.openapi import answer, body, error
from kserve_v2.rest.views import json_response

Json = dict[str, Any]

_TAG = "shared memory"

_DISABLED = "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
_SYSTEM_STATUS = [{"name": "images", "key": "/images", "offset": 0, "byte_size": 4096}]
_SYSTEM_BODY = {"key": "/images", "offset": 0, "byte_size": 4096}
_CUDA_STATUS = [{"name": "images", "device_id": 0, "byte_size": 4096}]
_CUDA_BODY = {"raw_handle": {"b64": "AAAA…"}, "device_id": 0, "byte_size": 4096}


def add_shared_memory_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    """Add the routes to `app`."""
    system = service.shared_memory
    cuda = system.cuda
    _add_common_routes(app, "system", system, _SYSTEM_STATUS)
    _add_common_routes(app, "cuda", cuda, _CUDA_STATUS)
    _add_system_register(app, system, bodies)
    _add_cuda_register(app, cuda, bodies)


def _add_common_routes(
    app: FastAPI, kind: str, regions: SharedMemoryRegions | CudaRegions, example: list[Json]
) -> None:
    prefix = f"/v2/{kind}sharedmemory"
    unknown = error("Not registered", f"Unable to find {kind} shared memory region: 'nosuch'")
    listed: dict[int | str, Json] = {200: answer("The regions", example)}

    @app.get(f"{prefix}/status", tags=[_TAG], responses=listed)
    @app.get(f"{prefix}/region/{{region_name}}/status", tags=[_TAG], responses={**listed, 404: unknown})
    async def status(region_name: str = "") -> Response:
        """One registered region, or all."""
        return json_response([asdict(region) for region in regions.status(region_name)])

    @app.post(f"{prefix}/unregister", tags=[_TAG])
    @app.post(f"{prefix}/region/{{region_name}}/unregister", tags=[_TAG])
    async def unregister(region_name: str = "") -> Response:
        """Forget one region, or all. Requests that use one are not disturbed."""
        regions.unregister(region_name)
        return _done()


def _add_system_register(app: FastAPI, regions: SharedMemoryRegions, bodies: BodyReader) -> None:
    documented = _documented(
        _SYSTEM_BODY,
        {
            400: "Shared memory register request has no 'key' field",
            409: "shared memory region 'images' already in manager",
            500: "Unable to open shared memory region: '/nosuchkey'",
        },
    )

    @app.post("/v2/systemsharedmemory/register", include_in_schema=False)
    @app.post("/v2/systemsharedmemory/region/{region_name}/register", tags=[_TAG], **documented)
    async def register(request: Request, region_name: str = "") -> Response:
        """Register a part of a shared memory object of this machine, for tensors of inference requests."""
        regions.check_may_register(region_name)
        document = await bodies.read_object(request.receive)
        regions.register(
            region_name,
            _string(document, "key"),
            _unsigned(document, "offset", 0),
            _unsigned(document, "byte_size"),
        )
        return _done()


def _add_cuda_register(app: FastAPI, regions: CudaRegions, bodies: BodyReader) -> None:
    documented = _documented(
        _CUDA_BODY,
        {
            400: "failed to register CUDA shared memory region: 'images', GPUs not supported: no NVIDIA driver: "
            "libcuda.so.1 was not found",
            409: "shared memory region 'images' already in manager",
            500: "failed to register CUDA shared memory region 'images': failed to open CUDA IPC handle: "
            "cudaIpcOpenMemHandle: out of memory (CUDA error 2)",
        },
    )

    @app.post("/v2/cudasharedmemory/register", include_in_schema=False)
    @app.post("/v2/cudasharedmemory/region/{region_name}/register", tags=[_TAG], **documented)
    async def register(request: Request, region_name: str = "") -> Response:
        """Register the start of an allocation on a GPU of this machine, for tensors of inference requests."""
        regions.check_may_register(region_name)
        document = await bodies.read_object(request.receive)
        regions.register(
            region_name,
            _raw_handle(document),
            _unsigned(document, "device_id"),
            _unsigned(document, "byte_size"),
        )
        return _done()


def _done() -> Response:
    return Response(status_code=200, media_type="application/json")


def _member(document: Json, name: str) -> Any:
    value = document.get(name)
    if value is None:
        raise InvalidArgumentError(f"Shared memory register request has no '{name}' field")
    return value


def _string(document: Json, name: str) -> str:
    value = _member(document, name)
    if isinstance(value, str):
        return value
    raise InvalidArgumentError(f"attempt to access JSON non-string as string: '{name}' must be a string")


def _unsigned(document: Json, name: str, default: int | None = None) -> int:
    value = default if default is not None and document.get(name) is None else _member(document, name)
    if type(value) is int and value >= 0:
        return value
    raise InvalidArgumentError(
        "attempt to access JSON non-unsigned-integer as unsigned-integer: "
        f"'{name}' must be a whole number of at least 0"
    )


def _raw_handle(document: Json) -> bytes:
    handle = _member(document, "raw_handle")
    encoded = handle.get("b64") if isinstance(handle, dict) else None
    if isinstance(encoded, str):
        with suppress(ValueError):
            raw_handle = b64decode(encoded, validate=True)
            check_raw_handle(raw_handle)
            return raw_handle
    raise InvalidArgumentError(
        '\'raw_handle\' must be a valid base64 encoded cudaIpcMemHandle_t: expected {"b64": "…"}'
    )


def _documented(example: Json, errors: dict[int, str]) -> Json:
    """What the API page says of a route that registers regions."""
    answers = {status: error("Refused", text) for status, text in errors.items()}
    return {"responses": {**answers, 501: error("Not enabled", _DISABLED)}, **body(example, required=True)}
