"""tritonclient's four clients behind one calling convention, so that one test serves all of them."""

import asyncio
import gc
import warnings
from types import ModuleType
from typing import Any

import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from google.protobuf.json_format import MessageToDict

from tests.conftest import RunningServer
from tests.integration.support import Array

_MODULES: dict[str, ModuleType] = {
    "http": tritonclient.http,
    "http.aio": tritonclient.http.aio,
    "grpc": tritonclient.grpc,
    "grpc.aio": tritonclient.grpc.aio,
}

KINDS = tuple(_MODULES)


class TritonClient:
    """One unmodified client. Each of its methods can be called here, and returns its result at once."""

    def __init__(self, kind: str, server: RunningServer) -> None:
        """`kind`: one of KINDS."""
        self.is_http = kind.startswith("http")
        self._runner = asyncio.Runner() if kind.endswith(".aio") else None
        self._module = _MODULES[kind]
        address = server.rest.removeprefix("http://") if self.is_http else server.grpc
        self._client = (
            self._wait(self._make(address)) if self._runner else self._module.InferenceServerClient(address)
        )

    async def _make(self, address: str) -> Any:
        return self._module.InferenceServerClient(address)

    def _wait(self, result: Any) -> Any:
        return self._runner.run(result) if self._runner and asyncio.iscoroutine(result) else result

    def __getattr__(self, method: str) -> Any:
        return lambda *args, **options: self._wait(getattr(self._client, method)(*args, **options))

    def as_dict(self, answer: Any) -> dict[str, Any]:
        """A control call's answer; the 64-bit integers of gRPC are strings in it, as in protobuf's JSON."""
        if isinstance(answer, dict):
            return answer
        return dict(MessageToDict(answer, preserving_proto_field_name=True))

    def input(self, name: str, datatype: str, array: Array, binary: bool = True) -> Any:
        """An input with the data of `array`; `binary` matters over HTTP alone."""
        made = self._module.InferInput(name, list(array.shape), datatype)
        return made.set_data_from_numpy(array, **self._binary(binary))

    def output(self, name: str, binary: bool = True, class_count: int = 0) -> Any:
        """A requested output."""
        made = self._module.InferRequestedOutput
        if self.is_http:
            return made(name, binary_data=binary, class_count=class_count)
        return made(name, class_count=class_count)

    def _binary(self, binary: bool) -> dict[str, bool]:
        return {"binary_data": binary} if self.is_http else {}

    def close(self) -> None:
        """Close the connection."""
        self._wait(self._client.close())
        if self._runner:
            self._runner.close()
        # The http.aio client never reads the answers to health checks, which aiohttp complains of.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
