"""The routes of the shared memory extensions: register, unregister and list regions, system and CUDA."""

from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.memory.regions import CudaRegions, SharedMemoryRegions, check_raw_handle
from kserve_v2.rest.body import BodyReader
from kserve_v2.rest.openapi import documented
from kserve_v2.rest.views import empty_response, json_response

Json = dict[str, Any]


def add_shared_memory_routes(app: FastAPI, service: InferenceService, bodies: BodyReader) -> None:
    """Add the routes to `app`."""
    system = service.shared_memory
    cuda = system.cuda

    def register_system(name: str, document: Json) -> None:
        offset, byte_size = _unsigned(document, "offset", 0), _unsigned(document, "byte_size")
        system.register(name, _string(document, "key"), offset, byte_size)

    def register_cuda(name: str, document: Json) -> None:
        raw_handle, device_id = _raw_handle(document), _unsigned(document, "device_id")
        cuda.register(name, raw_handle, device_id, _unsigned(document, "byte_size"))

    _add_routes(app, bodies, "system", system, register_system)
    _add_routes(app, bodies, "cuda", cuda, register_cuda)


def _add_routes(
    app: FastAPI,
    bodies: BodyReader,
    kind: str,
    regions: SharedMemoryRegions | CudaRegions,
    register_region: Callable[[str, Json], None],
) -> None:
    """Add the routes of one kind of regions. `register_region`: registers one under a name, as a body says."""
    prefix = f"/v2/{kind}sharedmemory"

    @app.get(f"{prefix}/status", **documented(f"{kind}_memory_status"))
    @app.get(f"{prefix}/region/{{region_name:region}}/status", **documented(f"{kind}_region_status"))
    async def status(region_name: str = "") -> Response:
        """One registered region, or all."""
        return json_response(regions.status(region_name))

    @app.post(f"{prefix}/unregister", **documented("unregister"))
    @app.post(f"{prefix}/region/{{region_name:region}}/unregister", **documented("unregister"))
    async def unregister(region_name: str = "") -> Response:
        """Forget one region, or all. Requests that use one are not disturbed."""
        regions.unregister(region_name)
        return empty_response()

    @app.post(f"{prefix}/register", include_in_schema=False)
    @app.post(f"{prefix}/region/{{region_name:region}}/register", **documented(f"{kind}_register"))
    async def register(request: Request, region_name: str = "") -> Response:
        regions.check_may_register(region_name)
        register_region(region_name, await bodies.read_object(request.receive))
        return empty_response()


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
