"""ModelInfer: from a message's bytes to an answer's, without a task in between."""

from functools import partial

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import ServingError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.log import Access, access_log_enabled, log_access
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.model import LoadedModel
from kserve_v2.rpc.answer import AnswerEncoder
from kserve_v2.rpc.calls import Asked, Context, GiveUp, OnAnswer, Parts, Serialized
from kserve_v2.rpc.codec import WHOLE, OutputForms, decode_request
from kserve_v2.rpc.recurring import RecurringForms
from kserve_v2.rpc.status import parse, unexpected
from kserve_v2.rpc.traces import begin_trace, text_metadata
from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.tracer import Tracer


class ModelInfer:
    """Answers inference requests. See `calls.Direct`."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self._tracer = service.tracer
        self._log_access = access_log_enabled()
        self._recurring = RecurringForms()
        self._encoder = AnswerEncoder()

    def recall(self, data: Serialized) -> Parts | Asked | None:
        """A request that has the form of an earlier one. None also where requests are traced or logged."""
        if self._tracer.on or self._log_access:
            return None
        form = self._recurring.find(data)
        if form is None:
            return None
        # One with the form's signature is not decoupled: such models do not get so far as to be noted.
        model = self._service.acquire(form.model_name, form.model_version)
        request = form.request(data, model.signature)
        if request is None:
            return None
        answer = model.infer_now(request)
        if answer is None:
            return partial(self._submit, model, request, WHOLE, None)
        return self._encoder.encode(answer, WHOLE, model.labels, batched=model.batched)

    def start(self, data: Serialized, context: Context) -> Parts | Asked:
        """Any request."""
        message = parse(data, pb.ModelInferRequest)
        observer = None
        if self._tracer.on or self._log_access:
            observer = _Observer(self._tracer, message, context)
        # From here to the scheduler nothing gives way to the loop: the model cannot be unloaded in between.
        model = self._service.acquire(message.model_name, message.model_version)
        if model.decoupled:
            raise UnsupportedError("ModelInfer RPC doesn't support models with decoupled transaction policy")
        request, forms = decode_request(message, self._service.shared_memory)
        if observer is not None and observer.trace is not None:
            model.begin_trace(request, observer.trace)
        model.check(request)
        self._recurring.note(data, message, request, model.signature)
        answer = model.infer_now(request)
        if answer is None:
            return partial(self._submit, model, request, forms, observer)
        return self._encode(answer, model, forms, observer)

    def _submit(
        self,
        model: LoadedModel,
        request: InferRequest,
        forms: OutputForms,
        observer: "_Observer | None",
        on_answer: OnAnswer,
    ) -> GiveUp:
        """Have a checked request executed."""

        def on_outcome(outcome: InferResponse | ServingError) -> None:
            if isinstance(outcome, ServingError):
                on_answer(outcome)
                return
            answer: Parts | ServingError
            try:
                answer = self._encode(outcome, model, forms, observer)
            except ServingError as error:
                answer = error
            except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
                answer = unexpected(error)
            on_answer(answer)

        return partial(model.give_up, model.submit(request, on_outcome))

    def _encode(
        self, answer: InferResponse, model: LoadedModel, forms: OutputForms, observer: "_Observer | None"
    ) -> Parts:
        if observer is not None:
            observer.executed(answer)
        return self._encoder.encode(answer, forms, model.labels, batched=model.batched)


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
