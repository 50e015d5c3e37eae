"""`InferenceAPIsService`: health and predictions over gRPC."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from kserve_v2._generated import torchserve_inference_pb2 as pb
from kserve_v2.logs.log import Access, access_log_enabled
from kserve_v2.rpc.calls import Context, Rpc
from kserve_v2.rpc.status import status_of
from kserve_v2.rpc.traces import Observer
from kserve_v2.rpc.typed import server_streaming, streaming, unary
from kserve_v2.torchserve.rows import Field, Row
from kserve_v2.torchserve_api.errors import TorchServeError, bad_request, json_body
from kserve_v2.torchserve_api.grpc_errors import grpc_error
from kserve_v2.torchserve_api.inference_calls import HEALTHY, UNHEALTHY, Health
from kserve_v2.torchserve_api.predictor import Predictor
from kserve_v2.torchserve_api.request_ids import new_request_id
from kserve_v2.torchserve_api.routes import Api
from kserve_v2.torchserve_api.tokens import Tokens
from kserve_v2.tracing.tracer import Tracer

SERVICE_NAME = "org.pytorch.serve.grpc.inference.InferenceAPIsService"

_OK = 0, ""
_LEFT = 1, "the client has left"


class InferenceServicer:
    """Answers its RPCs."""

    def __init__(
        self,
        predictor: Predictor,
        health: Health,
        tracer: Tracer,
        *,
        decode: bool,
        tokens: Tokens | None = None,
    ) -> None:
        """`decode`: as over HTTP."""
        self._tracer, self._log_access = tracer, access_log_enabled()
        self._predictor, self._health, self._decode, self._tokens = predictor, health, decode, tokens

    def rpcs(self) -> tuple[Rpc, ...]:
        """All of the service."""
        path = f"/{SERVICE_NAME}"
        return (
            unary(f"{path}/Ping", pb.PingRequest, self.ping),
            unary(f"{path}/Predictions", pb.PredictionsRequest, self.predict),
            server_streaming(f"{path}/StreamPredictions", pb.PredictionsRequest, self.stream),
            streaming(f"{path}/StreamPredictions2", pb.PredictionsRequest, self.stream_both),
        )

    async def ping(self, request: pb.PingRequest, context: Context) -> pb.TorchServeHealthResponse:
        """What GET /ping says."""
        self._check(context)
        status = HEALTHY if self._health.healthy() else UNHEALTHY
        return pb.TorchServeHealthResponse(health=json_body({"status": status}).decode().rstrip("\n"))

    async def predict(self, request: pb.PredictionsRequest, context: Context) -> pb.PredictionResponse:
        """One answer; of a model that answers in parts, all of them."""
        parts = bytearray()
        async with aclosing(self._answers(request, context)) as answers:
            async for each in answers:
                parts += each.prediction
        return pb.PredictionResponse(prediction=bytes(parts))

    async def stream(
        self, request: pb.PredictionsRequest, context: Context
    ) -> AsyncIterator[pb.PredictionResponse]:
        """The parts of an answer, each as it comes."""
        async with aclosing(self._answers(request, context)) as answers:
            async for each in answers:
                yield each

    async def stream_both(
        self, requests: AsyncIterator[pb.PredictionsRequest], context: Context
    ) -> AsyncIterator[pb.PredictionResponse]:
        """The answers to any number of requests, one after the other."""
        async for request in requests:
            async with aclosing(self._answers(request, context, several=True)) as answers:
                async for each in answers:
                    if request.HasField("sequence_id"):
                        each.sequence_id = request.sequence_id
                    yield each

    async def _answers(
        self, request: pb.PredictionsRequest, context: Context, *, several: bool = False
    ) -> AsyncGenerator[pb.PredictionResponse, None]:
        """`several`: others come in the same call, so that its end is not the request's."""
        self._check(context)
        observer: Observer | None = None
        access: Access | None = None
        # What is left before its end was left by the client.
        status = _LEFT
        try:
            if not request.model_name:
                raise bad_request("Parameter model_name is required.")
            row = Row(
                [Field(name, value) for name, value in request.input.items()],
                _headers(context),
                id=new_request_id(),
                decode=self._decode,
            )
            if self._tracer.on or self._log_access:
                access = Access("torchserve-grpc", request.model_name, request.model_version, row.id)
                observer = Observer(self._tracer, access, context)
                if not several:
                    context.on_end(observer.end)
            trace = observer.trace if observer is not None else None
            answer, more = await self._predictor.predict(
                request.model_name, request.model_version, row, access, trace
            )
            if trace is not None:
                trace.stamp("GRPC_SEND_START")
            yield pb.PredictionResponse(prediction=answer.body)
            if more is not None:
                async with aclosing(more):
                    async for part in more:
                        yield pb.PredictionResponse(prediction=part.body)
            status = _OK
        except TorchServeError as error:
            told = grpc_error(error, predicting=True)
            status = status_of(told)
            raise told from None
        finally:
            if several and observer is not None:
                observer.end(*status)

    def _check(self, context: Context) -> None:
        check_token(self._tokens, Api.INFERENCE, context)


def check_token(tokens: Tokens | None, api: Api, context: Context) -> None:
    """Raise PermissionDeniedError unless the call may be made."""
    if tokens is not None:
        try:
            tokens.check(api, dict(_headers(context)).get("authorization", ""))
        except TorchServeError as error:
            raise grpc_error(error) from None


def _headers(context: Context) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in context.metadata if isinstance(value, str))
