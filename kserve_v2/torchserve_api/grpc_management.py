"""`ManagementAPIsService`: the calls of the management API over gRPC."""

from collections.abc import Awaitable, Callable
from typing import Any

from kserve_v2._generated import torchserve_management_pb2 as pb
from kserve_v2.rpc.calls import Context, Rpc
from kserve_v2.rpc.typed import unary
from kserve_v2.torchserve_api.errors import TorchServeError, json_body, method_not_allowed
from kserve_v2.torchserve_api.grpc_errors import grpc_error
from kserve_v2.torchserve_api.grpc_inference import check_token
from kserve_v2.torchserve_api.management_calls import ManagementCalls
from kserve_v2.torchserve_api.routes import Api
from kserve_v2.torchserve_api.tokens import Tokens

SERVICE_NAME = "org.pytorch.serve.grpc.management.ManagementAPIsService"


class ManagementServicer:
    """Answers its RPCs."""

    def __init__(self, calls: ManagementCalls, *, model_api: bool, tokens: Tokens | None = None) -> None:
        """`model_api`: whether models may be registered and unregistered."""
        self._calls, self._model_api, self._tokens = calls, model_api, tokens

    def rpcs(self) -> tuple[Rpc, ...]:
        """All of the service."""
        return (
            self._rpc("DescribeModel", pb.DescribeModelRequest, self._describe),
            self._rpc("ListModels", pb.ListModelsRequest, self._list),
            self._rpc("RegisterModel", pb.RegisterModelRequest, self._register),
            self._rpc("ScaleWorker", pb.ScaleWorkerRequest, self._scale),
            self._rpc("SetDefault", pb.SetDefaultRequest, self._set_default),
            self._rpc("UnregisterModel", pb.UnregisterModelRequest, self._unregister),
        )

    def _rpc(self, name: str, request_type: Any, answer: Callable[[Any], Awaitable[str]]) -> Rpc:
        async def answered(request: Any, context: Context) -> pb.ManagementResponse:
            check_token(self._tokens, Api.MANAGEMENT, context)
            try:
                return pb.ManagementResponse(msg=await answer(request))
            except TorchServeError as error:
                raise grpc_error(error) from None

        return unary(f"/{SERVICE_NAME}/{name}", request_type, answered)

    async def _describe(self, request: pb.DescribeModelRequest) -> str:
        return _text(
            await self._calls.describe(
                request.model_name, request.model_version, customized=request.customized
            )
        )

    async def _list(self, request: pb.ListModelsRequest) -> str:
        return _text(self._calls.page(request.limit, request.next_page_token))

    async def _register(self, request: pb.RegisterModelRequest) -> str:
        self._raise_unless_allowed()
        said = {
            "url": request.url,
            "model_name": request.model_name,
            "handler": request.handler,
            "runtime": request.runtime,
            **_numbers(
                batch_size=request.batch_size,
                initial_workers=request.initial_workers,
                max_batch_delay=request.max_batch_delay,
                response_timeout=request.response_timeout,
                startup_timeout=request.startup_timeout,
            ),
            "synchronous": str(request.synchronous).lower(),
        }
        return (await self._calls.register(said))[0]

    async def _scale(self, request: pb.ScaleWorkerRequest) -> str:
        said = {
            **_numbers(min_worker=request.min_worker, max_worker=request.max_worker),
            "synchronous": str(request.synchronous).lower(),
        }
        return (await self._calls.scale(request.model_name, request.model_version, said))[0]

    async def _set_default(self, request: pb.SetDefaultRequest) -> str:
        return self._calls.set_default(request.model_name, request.model_version)

    async def _unregister(self, request: pb.UnregisterModelRequest) -> str:
        self._raise_unless_allowed()
        return await self._calls.unregister(request.model_name, request.model_version)

    def _raise_unless_allowed(self) -> None:
        if not self._model_api:
            raise method_not_allowed()


def _numbers(**values: int) -> dict[str, str]:
    """Those that are said: other than over HTTP, what is not above 0 is as good as nothing."""
    return {name: str(value) for name, value in values.items() if value > 0}


def _text(document: object) -> str:
    """The body of the answer over HTTP."""
    return json_body(document).decode().rstrip("\n")
