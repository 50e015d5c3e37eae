"""ModelInfer: from a message's bytes to an answer's, without a task in between."""

from collections.abc import Callable
from functools import partial

from kserve_v2.acceptance import GIVEN, Carrying
from kserve_v2.errors import NotHereError, NotLoadedError, ServingError, UnsupportedError
from kserve_v2.forms import Forms
from kserve_v2.inference import Inference
from kserve_v2.logs.log import Access, access_log_enabled
from kserve_v2.memory.inflight import Share
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rpc.answer import AnswerEncoder, is_long
from kserve_v2.rpc.calls import Asked, Context, Parts, Serialized
from kserve_v2.rpc.codec import WHOLE, OutputForms, decode_request
from kserve_v2.rpc.large import receive_large
from kserve_v2.rpc.received import Received
from kserve_v2.rpc.recurring import key_of, note
from kserve_v2.rpc.status import known
from kserve_v2.rpc.traces import Observer
from kserve_v2.rpc.verbatim import pack
from kserve_v2.scheduling.demand import Demand
from kserve_v2.scheduling.replies import Outcome
from kserve_v2.scheduling.slices import Slicer, Slices, Work
from kserve_v2.scheduling.target import Ticket
from kserve_v2.tracing.trace import Trace


class ModelInfer:
    """Answers inference requests. See `calls.Direct`."""

    def __init__(self, service: Inference) -> None:
        self._service = service
        self._tracer = service.tracer
        self._log_access = access_log_enabled()
        self._recurring: Forms[None] = Forms()
        self.encoder = AnswerEncoder()
        self._unused: _Asked | None = None
        self._slicer = service.slicer

    def recall(self, data: Serialized) -> Parts | Asked | None:
        """A request that has the form of an earlier one. None also where requests are traced or logged."""
        found = None if self._tracer.on or self._log_access else self.recognised(data)
        if found is None:
            return None
        model, request = found
        # Nearly all small requests are answered at once: then the reply is not used, and serves the next one.
        asked = self._unused or _Asked(self.encoder, self._slicer, WHOLE, None)
        answered = model.submit(request, asked)
        if isinstance(answered, InferResponse) and not is_long(answered, WHOLE):
            self._unused = asked
            return self.encoder.encode(answered, WHOLE, model)
        self._unused = None
        asked.model = model
        return asked.go_on(answered)

    def recognised(self, data: Serialized) -> tuple[LoadedModel, InferRequest] | None:
        """A request that has the form of an earlier one, checked, and the model that answers it, once."""
        found = self._recurring.find(key_of(data), data)
        if found is None:
            return None
        form, request = found
        try:
            # A model with the form's signature is not decoupled: forms of decoupled models are never noted.
            model = self._service.acquire(request.model_name, request.model_version)
        except ServingError:
            # Perhaps it is to be loaded again; else it is refused when it is read in full.
            return None
        return (model, request) if model.signature is form.signature else None

    def start(self, data: Serialized, context: Context) -> Parts | Asked:
        """Any request."""
        share = Share(self._service.inflight)
        received = receive_large(data, share.hold_if_room)
        if isinstance(received, Received):
            return self._begin(received, context)
        share.hold(len(data))
        return Sliced(self._slicer, received, share, lambda found: self._begin(found, context))

    def _begin(self, received: Received, context: Context) -> Parts | Asked:
        observer = None
        if self._tracer.on or self._log_access:
            message = received.message
            access = Access("grpc", message.model_name, message.model_version, message.id)
            observer = Observer(self._tracer, access, context)
            context.on_end(observer.end)
        return self._ask_loaded(received, context, observer)

    def _ask_loaded(self, received: Received, context: Context, observer: Observer | None) -> Parts | Asked:
        """As `_ask`; waits for a model that is to be loaded, however often it is unloaded again."""
        try:
            return self._ask(received, context, observer)
        except NotHereError:
            if observer is not None:
                # Another process answers, and has the line of the access log.
                observer.access.elsewhere = True
            raise
        except NotLoadedError as error:
            demand = self._service.demand(error.model_name, len(received.data))
            later = _Later()
            ask = partial(self._ask_loaded, received, context, observer)
            later.ticket = Demand(demand, partial(later.ask, ask), later.answer)
            return later

    def _ask(self, received: Received, context: Context, observer: Observer | None) -> Parts | Asked:
        # From here to the scheduler nothing awaits, so the model cannot be unloaded in between.
        model = self._service.acquire(received.message.model_name, received.message.model_version)
        if model.decoupled and not model.signature.verbatim:
            raise UnsupportedError("ModelInfer RPC doesn't support models with decoupled transaction policy")
        trace = None if observer is None else observer.trace
        model, request, forms = self.checked(model, received, context, trace)
        asked = _Asked(self.encoder, self._slicer, forms, observer)
        asked.model = model
        return asked.go_on(model.submit(request, asked))

    def checked(
        self,
        model: LoadedModel,
        received: Received,
        context: Context,
        trace: Trace | None,
        *,
        stream: bool = False,
    ) -> tuple[LoadedModel, InferRequest, OutputForms]:
        """A request to an acquired model, decoded and checked, and what answers it. `stream`: its client takes any
        number of answers. Raises ServingError.
        """
        data, message, raw, typed = received
        model.signature.check_counts(len(message.inputs), len(message.outputs))
        request, forms = decode_request(message, self._service.shared_memory, raw, typed)
        if model.signature.verbatim:
            request.packed = pack(message, context.metadata, stream=stream)
        if model.splits:
            model = self._service.route(model, request, context.metadata)
        if trace is not None:
            model.begin_trace(request, trace)
        model = self._service.check(model, request)
        if not model.decoupled:
            note(self._recurring, data, message, request, model.signature)
        return model, request, forms


class _Later(Asked):
    """A request that is asked when something has been done for it, which is its ticket until then."""

    __slots__ = ()

    def ask(self, ask: Callable[[], Parts | Asked]) -> None:
        """It has been done."""
        try:
            found = ask()
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            self.answer(known(error))
            return
        if isinstance(found, Asked):
            # It answers in the place of this one, and is given up with it.
            found.on_answer = self.answer
            self.ticket = found
        else:
            self.answer(found)

    def answer(self, answer: Parts | ServingError) -> None:
        """It is over."""
        self.ticket = None
        self.on_answer(answer)


class Sliced(_Later):
    """A request that is being read in slices."""

    __slots__ = ("_share", "_then", "elsewhere")

    elsewhere: Callable[[], Parts | Asked] | None
    """What to do where it turns out that the request is not this process's."""

    def __init__(
        self,
        slicer: Slicer,
        slices: Slices[Received],
        share: Share,
        then: Callable[[Received], Parts | Asked],
    ) -> None:
        """`share`: of the bytes in flight, until it is read. `then`: what comes of it."""
        self._share = share
        self._then = then
        self.elsewhere = None
        self.ticket = slicer.begin(slices, self._done)

    def give_up(self) -> None:
        """See `OneOutcome`."""
        self._share.give_back()
        super().give_up()

    def _done(self, outcome: Received | Exception) -> None:
        # From here on the queue counts its tensors, if they have to wait.
        self._share.give_back()
        self.ask(partial(self._go_on, outcome))

    def _go_on(self, outcome: Received | Exception) -> Parts | Asked:
        if isinstance(outcome, Exception):
            raise outcome
        try:
            # It was there before the slices began.
            with Carrying(GIVEN):
                return self._then(outcome)
        except NotHereError:
            if self.elsewhere is None:
                raise
            return self.elsewhere()


class _Asked(Asked):
    """The reply to a request. `model`: what answers it, set when it is under way."""

    __slots__ = ("_encoder", "_forms", "_observer", "_slicer", "_writing", "model")

    model: LoadedModel

    def __init__(
        self, encoder: AnswerEncoder, slicer: Slicer, forms: OutputForms, observer: Observer | None
    ) -> None:
        self._encoder = encoder
        self._slicer = slicer
        # It is no ticket: whoever answers says that this was all when the answer is still being written.
        self._writing: Work[Parts] | None = None
        self._forms = forms
        self._observer = observer

    def take(self, outcome: Outcome) -> None:
        """Encode the outcome and send it."""
        answer: Parts | Asked | ServingError
        try:
            answer = outcome if isinstance(outcome, ServingError) else self.go_on(outcome)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            answer = known(error)
        if not isinstance(answer, Asked):
            self.on_answer(answer)

    def go_on(self, submitted: InferResponse | Ticket) -> "Parts | Asked":
        """The message that answers, if there is an answer and it is soon written; else itself. Raises what is wrong
        with it.
        """
        if not isinstance(submitted, InferResponse):
            self.ticket = submitted
            return self
        model, forms, encoder = self.model, self._forms, self._encoder
        if self._observer is not None:
            self._observer.executed(submitted)
        if not is_long(submitted, forms):
            return encoder.encode(submitted, forms, model)
        slices = encoder.encode_in_slices(submitted, forms, model)
        self._writing = self._slicer.begin(slices, self._written)
        return self

    def give_up(self) -> None:
        """See `OneOutcome`."""
        super().give_up()
        if self._writing is not None:
            self._writing.give_up()

    def _written(self, answer: Parts | Exception) -> None:
        self._writing = None
        self.on_answer(known(answer) if isinstance(answer, Exception) else answer)
