"""ModelInfer: from a message's bytes to an answer's, without a task in between."""

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import ServingError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs import Access, access_log_enabled, log_access
from kserve_v2.messages import InferResponse
from kserve_v2.repository.model import LoadedModel
from kserve_v2.rpc.calls import Context, GiveUp, OnAnswer
from kserve_v2.rpc.codec import OutputForms, decode_request, encode_response
from kserve_v2.rpc.status import parse, unexpected
from kserve_v2.rpc.traces import begin_trace, text_metadata
from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.tracer import Tracer


class ModelInfer:
    """Starts inference requests."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def start(self, data: bytes, context: Context, on_answer: OnAnswer) -> GiveUp | None:
        """See `calls.Started`."""
        message = parse(data, pb.ModelInferRequest)
        observer = None
        if self._service.tracer.on or access_log_enabled():
            observer = _Observer(self._service.tracer, message, context)
        # From here to the scheduler nothing gives way to the loop: the model cannot be unloaded in between.
        model = self._service.acquire(message.model_name, message.model_version)
        if model.decoupled:
            raise UnsupportedError("ModelInfer RPC doesn't support models with decoupled transaction policy")
        request, forms = decode_request(message, self._service.shared_memory)
        if observer is not None and observer.trace is not None:
            model.begin_trace(request, observer.trace)
        pending = model.submit(request, _Asked(model, forms, on_answer, observer).on_outcome)
        return None if pending.done else lambda: model.give_up(pending)


class _Asked:
    """A request that a model has taken."""

    __slots__ = ("_forms", "_model", "_observer", "_on_answer")

    def __init__(
        self, model: LoadedModel, forms: OutputForms, on_answer: OnAnswer, observer: "_Observer | None"
    ) -> None:
        self._model = model
        self._forms = forms
        self._on_answer = on_answer
        self._observer = observer

    def on_outcome(self, outcome: InferResponse | ServingError) -> None:
        """Encode the outcome, and send it."""
        if isinstance(outcome, ServingError):
            self._on_answer(outcome)
            return
        if self._observer is not None:
            self._observer.executed(outcome)
        model = self._model
        try:
            message = encode_response(outcome, self._forms, model.labels, batched=model.batched)
            answer = message.SerializeToString()
        except ServingError as error:
            self._on_answer(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            self._on_answer(unexpected(error))
        else:
            self._on_answer(answer)


class _Observer:
    """The trace of a request, and its line of the access log, where there are such."""

    def __init__(self, tracer: Tracer, message: pb.ModelInferRequest, context: Context) -> None:
        self._tracer = tracer
        self.trace: Trace | None = None
        if tracer.on:
            self.trace = begin_trace(tracer, message, text_metadata(context))
        self._access = Access("grpc", message.model_name, message.model_version, message.id)
        context.on_end(self._ended)

    def executed(self, response: InferResponse) -> None:
        """The answer is there, and about to be sent."""
        self._access.executed(response)
        if self.trace is not None:
            self.trace.stamp("GRPC_SEND_START")

    def _ended(self, code: int, details: str) -> None:
        self._access.status = code
        log_access(self._access)
        if self.trace is not None:
            self.trace.error = details
            self.trace.stamp("GRPC_SEND_END")
            self._tracer.finish(self.trace)
