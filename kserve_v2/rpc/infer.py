"""ModelInfer: from a message's bytes to an answer's, without a task in between."""

from functools import partial

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import ServingError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs import Access, access_log_enabled, log_access
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.model import LoadedModel
from kserve_v2.rpc.answer import AnswerEncoder
from kserve_v2.rpc.calls import Context, GiveUp, OnAnswer, Parts
from kserve_v2.rpc.codec import OutputForms, decode_request
from kserve_v2.rpc.recurring import RecurringForms
from kserve_v2.rpc.status import parse, unexpected
from kserve_v2.rpc.traces import begin_trace, text_metadata
from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.tracer import Tracer

_WHOLE: OutputForms = {}


class ModelInfer:
    """Starts inference requests."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self._tracer = service.tracer
        self._log_access = access_log_enabled()
        self._recurring = RecurringForms()
        self._encoder = AnswerEncoder()

    def start(self, data: bytes, context: Context, on_answer: OnAnswer) -> GiveUp | None:
        """See `calls.Started`."""
        observed = self._tracer.on or self._log_access
        form = None if observed else self._recurring.find(data)
        if form is not None:
            model = self._model(form.model_name, form.model_version)
            request = form.request(data, model.signature)
            if request is not None:
                return self._infer(model, request, _WHOLE, on_answer, None)
        message = parse(data, pb.ModelInferRequest)
        observer = _Observer(self._tracer, message, context) if observed else None
        # From here to the scheduler nothing gives way to the loop: the model cannot be unloaded in between.
        model = self._model(message.model_name, message.model_version)
        request, forms = decode_request(message, self._service.shared_memory)
        if observer is not None and observer.trace is not None:
            model.begin_trace(request, observer.trace)
        model.check(request)
        self._recurring.note(data, message, request, model.signature)
        return self._infer(model, request, forms, on_answer, observer)

    def _model(self, name: str, version: str) -> LoadedModel:
        model = self._service.acquire(name, version)
        if model.decoupled:
            raise UnsupportedError("ModelInfer RPC doesn't support models with decoupled transaction policy")
        return model

    def _infer(
        self,
        model: LoadedModel,
        request: InferRequest,
        forms: OutputForms,
        on_answer: OnAnswer,
        observer: "_Observer | None",
    ) -> GiveUp | None:
        """Have a checked request executed, at once if its model is quick."""
        answer = model.infer_now(request)
        if answer is not None:
            on_answer(self._encode(answer, model, forms, observer))
            return None

        def on_outcome(outcome: InferResponse | ServingError) -> None:
            if isinstance(outcome, ServingError):
                on_answer(outcome)
            else:
                on_answer(self._encode(outcome, model, forms, observer))

        return partial(model.give_up, model.submit(request, on_outcome))

    def _encode(
        self, answer: InferResponse, model: LoadedModel, forms: OutputForms, observer: "_Observer | None"
    ) -> Parts | ServingError:
        if observer is not None:
            observer.executed(answer)
        try:
            return self._encoder.encode(answer, forms, model.labels, batched=model.batched)
        except ServingError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            return unexpected(error)


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
