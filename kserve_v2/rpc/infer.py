"""ModelInfer: from a message's bytes to an answer's, without a task in between."""

from functools import partial

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import ServingError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs import Access, access_log_enabled, log_access
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.model import LoadedModel
from kserve_v2.rpc.answer import AnswerEncoder
from kserve_v2.rpc.calls import Context, GiveUp, OnAnswer
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
        self._recurring = RecurringForms()
        self._encoder = AnswerEncoder()

    def start(self, data: bytes, context: Context, on_answer: OnAnswer) -> GiveUp | None:
        """See `calls.Started`."""
        observed = self._service.tracer.on or access_log_enabled()
        form = None if observed else self._recurring.find(data)
        if form is not None:
            try:
                request = form.request(data)
            except UnicodeDecodeError:
                # Which protobuf finds out, too.
                pass
            else:
                return self._infer(
                    self._model(request.model_name, request.model_version), request, _WHOLE, on_answer, None
                )
        message = parse(data, pb.ModelInferRequest)
        observer = _Observer(self._service.tracer, message, context) if observed else None
        # From here to the scheduler nothing gives way to the loop: the model cannot be unloaded in between.
        model = self._model(message.model_name, message.model_version)
        request, forms = decode_request(message, self._service.shared_memory)
        if observer is not None and observer.trace is not None:
            model.begin_trace(request, observer.trace)
        give_up = self._infer(model, request, forms, on_answer, observer)
        self._recurring.note(data, message)
        return give_up

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
        asked = _Asked(model, forms, on_answer, observer, self._encoder)
        model.check(request)
        answer = model.infer_now(request)
        if answer is not None:
            asked.on_outcome(answer)
            return None
        return partial(model.give_up, model.submit(request, asked.on_outcome))


class _Asked:
    """A request that a model has taken."""

    __slots__ = ("_encoder", "_forms", "_model", "_observer", "_on_answer")

    def __init__(
        self,
        model: LoadedModel,
        forms: OutputForms,
        on_answer: OnAnswer,
        observer: "_Observer | None",
        encoder: AnswerEncoder,
    ) -> None:
        self._model = model
        self._forms = forms
        self._on_answer = on_answer
        self._observer = observer
        self._encoder = encoder

    def on_outcome(self, outcome: InferResponse | ServingError) -> None:
        """Encode the outcome, and send it."""
        if isinstance(outcome, ServingError):
            self._on_answer(outcome)
            return
        if self._observer is not None:
            self._observer.executed(outcome)
        model = self._model
        try:
            answer = self._encoder.encode(outcome, self._forms, model.labels, batched=model.batched)
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
