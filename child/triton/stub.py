"""One object of a Triton model's class: the calls of its functions, and what it makes of requests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable

from ..answers import ModelError
from .context import ModelContext
from .errors import failed
from .exchange import ManyAnswers, OneAnswer, Outcome, RoundAnswer
from .importing import Importer
from .request import RELEASE_RESCHEDULE
from .response import InferenceResponse, outputs_of, parameters_of
from .threads import LoopThread

_COUNTS = (
    "Number of InferenceResponse objects do not match the number of InferenceRequest objects. InferenceRequest(s) size "
    "is:{}, and InferenceResponse(s) size is:{}\n"
)
NO_EXECUTE = "Python model {} does not implement `execute` method."
_NO_RESPONSE = "Expected an 'InferenceResponse' object in the execute function return list, found type '{}'."
_DECOUPLED = "Python model '{}' is using the decoupled mode and the execute function must return None."
_NONE = (
    "execute has returned None for a request, and has not asked for its response sender: there is no answer."
)

Tensors = Mapping[str, Any]


class Stub:
    """One object of a model's class, and the calls of its functions."""

    def __init__(
        self,
        context: ModelContext,
        model_class: Any,
        request_class: Any,
        importer: Importer,
        name: str,
        outputs: frozenset[str],
        hidden: frozenset[str],
        file: Path,
        *,
        rounds: bool,
    ) -> None:
        """`name`: of the instance. `outputs`: all that the model has, and `hidden` those of them that no client sees.
        `rounds`: whether a request may be executed again.
        """
        self.context = context
        self.importer = importer
        self.name = name
        self._class = model_class
        self._request_class = request_class
        self._outputs = outputs
        self._hidden = hidden
        self._file = file
        self._exchange: type[OneAnswer] = RoundAnswer if rounds else OneAnswer
        self._model: Any = None
        self._loop: LoopThread | None = None
        self._making_loop = threading.Lock()

    # --- its life -----------------------------------------------------------------------------------------------------

    def initialize(self, arguments: dict[str, str]) -> None:
        """Make the object. Raises what its code raises."""
        with self.context.life_cycle(self.name):
            self._model = self._class()
            if hasattr(self._model, "initialize"):
                returned = self._model.initialize(arguments)
                if inspect.iscoroutine(returned):
                    returned.close()
                    raise ModelError("initialize: expected a plain function, got an async one")
        # Looked for on the object: its own code may have put it there.
        if not hasattr(self._model, "execute"):
            self.finalize()
            raise ModelError(NO_EXECUTE.format(self._file.name))
        self.context.ready(self.name)

    def is_ready(self) -> bool:
        """What the object says of it. Raises what its code raises."""
        model = self._model
        if model is None or not hasattr(model, "is_ready"):
            return model is not None
        with self.context.life_cycle(self.name):
            returned = model.is_ready()
            if inspect.iscoroutine(returned):
                returned = self._own_loop().start(returned).result()
        return bool(returned)

    def finalize(self) -> None:
        """Let the object give back what it holds. Raises what its code raises."""
        model, self._model = self._model, None
        try:
            if hasattr(model, "finalize"):
                with self.context.life_cycle(self.name):
                    model.finalize()
        finally:
            if self._loop is not None:
                self._loop.stop()

    # --- one answer to each request -----------------------------------------------------------------------------------

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[Any]) -> list[OneAnswer]:
        """Execute a batch of requests that have one answer each. What is not answered when this returns will be, by a
        sender. Raises what has failed before any request had an answer.
        """
        answers = [self._exchange(*self._of(each)) for each in requests]
        try:
            given = [
                self._request_class.given(request, inputs, answer)
                for request, inputs, answer in zip(requests, tensors, answers)
            ]
            returned = self._call(given, requests)
            if isinstance(returned, concurrent.futures.Future):
                returned = returned.result()
            self._settle(answers, given, returned)
        except BaseException as error:
            untouched = all(answer.outcome is None and not answer.sender_made for answer in answers)
            for answer in answers:
                answer.settle(error)
            if untouched:
                raise
        return answers

    # --- any number of answers ----------------------------------------------------------------------------------------

    def stream(self, tensors: Sequence[Tensors], answers: Sequence[ManyAnswers]) -> None:
        """Begin to execute a batch of requests of a decoupled model, without those that nobody waits for any more."""
        wanted = []
        for inputs, each in zip(tensors, answers):
            if each.cancelled:
                each.fail(ModelError("the request was cancelled", "CANCELLED"))
            else:
                wanted.append((inputs, each))
        if not wanted:
            return
        open_ones = [each for _, each in wanted]
        try:
            given = [self._request_class.given(each.incoming, inputs, each) for inputs, each in wanted]
            requests = [each.incoming for each in open_ones]
            returned = self._call(given, requests, partial(self._stream_async, answers=open_ones))
            if not isinstance(returned, concurrent.futures.Future):
                self._check_none(returned)
        except BaseException as error:  # noqa: BLE001 - it is the failure of these requests alone
            for each in open_ones:
                each.fail(error)

    async def _stream_async(self, work: Coroutine[Any, Any, Any], answers: Sequence[ManyAnswers]) -> None:
        try:
            self._check_none(await work)
        except BaseException as error:
            for each in answers:
                each.fail(error)
            if isinstance(error, asyncio.CancelledError):
                raise

    def _check_none(self, returned: Any) -> None:
        if returned is not None:
            text = f"Python model '{self.name}' is using the decoupled mode and the execute function must return None."
            raise ModelError(failed(self.name, text))

    def exchange_of(self, request: Any) -> ManyAnswers:
        """Where the answers to a request of a decoupled model go. On the event loop that takes them."""
        return ManyAnswers(*self._of(request))

    # ------------------------------------------------------------------------------------------------------------------

    def _settle(self, answers: Sequence[OneAnswer], given: Sequence[Any], returned: Any) -> None:
        """Take what `execute` has returned. Raises ModelError where that is no answer to the batch."""
        if returned is None:
            returned = [None] * len(answers)
        if type(returned) is not list:
            raise ModelError(
                failed(self.name, f"Expected a list in the execute return, found type '{type(returned)}'.")
            )
        if len(returned) != len(answers):
            raise ModelError(failed(self.name, _COUNTS.format(len(answers), len(returned))))
        for response in returned:
            if response is not None and not isinstance(response, InferenceResponse):
                raise ModelError(failed(self.name, _NO_RESPONSE.format(type(response))))
        for answer, request, response in zip(answers, given, returned):
            if request.released == RELEASE_RESCHEDULE:
                self._reschedule(answer)
            if response is not None and answer.outcome is None:
                answer.settle(self._outcome(response, answer))
            elif response is None and not answer.sender_made:
                answer.settle(ModelError(failed(self.name, _NONE)))

    def _reschedule(self, answer: OneAnswer) -> None:
        try:
            answer.incoming.reschedule()
        except Exception as error:  # noqa: BLE001 - it is this request's failure
            answer.settle(error)
        else:
            # What it is answered with in this round counts only where each round is answered.
            answer.settle({})

    def _outcome(self, response: InferenceResponse, answer: OneAnswer) -> Outcome:
        try:
            outputs = outputs_of(response, answer.wanted, self.name)
        except ModelError as error:
            return error
        parameters = parameters_of(response)
        if parameters:
            answer.incoming.response_parameters.update(parameters)
        return outputs

    def _of(self, request: Any) -> tuple[Any, frozenset[str], str, ModelContext]:
        """What an exchange is made of."""
        names = request.requested_outputs
        wanted = frozenset(names) | self._hidden if names else self._outputs
        return request, wanted, self.name, self.context

    def _call(
        self,
        given: list[Any],
        requests: Sequence[Any],
        around: Callable[[Any], Coroutine[Any, Any, Any]] | None = None,
    ) -> Any:
        """What `execute` returns; if it is async, the future of that. `around`: what runs in its place, then."""
        execute = getattr(self._model, "execute", None)
        if execute is None:
            text = NO_EXECUTE.format(self._file.name)
            raise ModelError(failed(self.name, text))
        with self.context.executing(self.name, requests):
            returned = execute(given)
            if inspect.iscoroutine(returned):
                # It takes along what is said here of the requests.
                return self._own_loop().start(returned if around is None else around(returned))
        return returned

    def _own_loop(self) -> LoopThread:
        with self._making_loop:
            if self._loop is None:
                self._loop = LoopThread(f"{self.name}-loop", self.importer)
            return self._loop
