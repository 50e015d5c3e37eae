"""The instances of a model of TorchServe's: those that give one answer to each request, and those that send parts."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Callable, Literal, Union

from ..answers import ModelError, StreamedResponse
from ..triton.threads import Worker as Thread
from .packing import CONTENT_TYPE, REFUSED, STATUS
from .rows import Row, rows_of
from .worker import Worker, outputs_of

Tensors = Mapping[str, Any]
Json = dict[str, Any]
Outcome = Union[dict[str, Any], BaseException]

# How many batches are taken while the parts of others are on their way.
_MAX_CONCURRENCY = 256
# How many parts may wait until the first is taken.
_MAX_WAITING = 64


class BatchInstance:
    """One answer to each request."""

    fresh_outputs: Literal[True] = True

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        worker.initialize()

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[Any]) -> list[Outcome]:
        """The outcome of each request. Raises what the handler raises for a batch that is handled in one piece."""
        rows = rows_of(requests, tensors)
        if True in [row.alone for row in rows]:
            return self._execute_apart(rows, requests)
        answers = self._worker.handle(rows)
        if len(requests) > 1 and any(each.get(REFUSED) for each in answers):
            # One of them is refused, and nobody knows which: the server asks for each of them alone.
            raise refusal(answers[0])
        if len(requests) == len(rows) == 1:
            return [_outcome(answers, requests[0])]
        return _outcomes(answers, rows, requests)

    def _execute_apart(self, rows: Sequence[Row], requests: Sequence[Any]) -> list[Outcome]:
        """The outcomes where some rows are handled alone. Of the other requests, one that fails takes none with it."""
        by_place: dict[int, list[Row]] = {}
        for row in rows:
            by_place.setdefault(row.request, []).append(row)
        outcomes: dict[int, Outcome] = {}
        together = [row for row in rows if not row.alone]
        places = sorted({row.request for row in together})
        if len(places) > 1:
            with suppress(BaseException):
                answers = self._worker.handle(together)
                if not any(each.get(REFUSED) for each in answers):
                    outcomes.update(zip(places, _outcomes(answers, together, requests, places)))
        for place, own in by_place.items():
            if place not in outcomes:
                pieces = [[row] for row in own] if own[0].alone else [own]
                outcomes[place] = self._outcome(pieces, requests[place])
        return [outcomes[place] for place in range(len(requests))]

    def _outcome(self, pieces: Sequence[list[Row]], request: Any) -> Outcome:
        """Of one request, whose rows are handled in pieces."""
        try:
            answers = [answer for rows in pieces for answer in self._worker.handle(rows)]
        except BaseException as error:  # noqa: BLE001 - it is the outcome of this request alone
            return error
        return _outcome(answers, request)

    def close(self) -> None:
        """See `Worker.close`."""
        self._worker.close()


def _outcomes(
    answers: Sequence[Json], rows: Sequence[Row], requests: Sequence[Any], places: Sequence[int] | None = None
) -> list[Outcome]:
    """Of the answers to rows, those to requests."""
    by_place: dict[int, list[Json]] = {}
    for answer, row in zip(answers, rows):
        by_place.setdefault(row.request, []).append(answer)
    return [
        _outcome(by_place[place], requests[place])
        for place in (range(len(requests)) if places is None else places)
    ]


def _outcome(answers: list[Json], request: Any) -> Outcome:
    if request.packed is None:
        refused = next((each for each in answers if each.get(REFUSED)), None)
        if refused is not None:
            return refusal(refused)
    if len(answers) == 1:
        (answer,) = answers
        body = answer.pop("body")
        request.response_parameters.update(answer)
        return outputs_of([body])
    # Only what is true of all of them.
    kinds = {each.get(CONTENT_TYPE, "") for each in answers}
    if len(kinds) == 1 and "" not in kinds:
        request.response_parameters[CONTENT_TYPE] = kinds.pop()
    return outputs_of([each["body"] for each in answers])


def refusal(answer: Json) -> ModelError:
    """What a client of the v2 protocol gets of a `PredictionException`."""
    code = answer[STATUS]
    kinds = {
        404: "NOT_FOUND",
        409: "ALREADY_EXISTS",
        413: "RESOURCE_EXHAUSTED",
        429: "OVERLOADED",
        501: "UNSUPPORTED",
    }
    kind = kinds.get(
        code, "INVALID_ARGUMENT" if 400 <= code < 500 else "UNAVAILABLE" if code == 503 else "INTERNAL"
    )
    return ModelError(answer["body"].decode("utf-8", "replace"), kind)


# --- in parts -------------------------------------------------------------------------------------------------------


class _NoImporter:
    """The whole process works for the model."""

    def load(self, module: Any) -> Any:
        """Nothing is loaded by it."""

    def work_for_it(self) -> None:
        """It does anyway."""

    def close(self) -> None:
        """There is nothing."""


class PartsInstance:
    """Any number of parts, and then the rest, for each request: a stream. The handler runs on a thread of its own."""

    fresh_outputs: Literal[True] = True
    max_concurrency = _MAX_CONCURRENCY

    def __init__(self, worker: Worker, name: str) -> None:
        self._worker = worker
        self._thread = Thread(f"{name}-handler", _NoImporter())
        try:
            self._thread.call(worker.initialize)
        except BaseException:
            self._thread.stop()
            raise

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call `callback` as soon as the next batch would be handled at once."""
        self._thread.when_free(callback)

    def streams_async(self, tensors: Sequence[Tensors], requests: Sequence[Any]) -> list[Parts]:
        """Begin to handle a batch: what comes for each request."""
        streams = [Parts(request) for request in requests]
        rows = rows_of(requests, tensors)
        together = [row for row in rows if not row.alone]
        for group in [together, *([row] for row in rows if row.alone)]:
            if group:
                self._thread.do(partial(self._handle, group, streams))
        return streams

    def _handle(self, rows: list[Row], streams: Sequence[Parts]) -> None:
        """Never raises: what goes wrong is the end of the streams."""
        wanted = [row for row in rows if not streams[row.request].left]
        if not wanted:
            return
        sent = False

        def send(index: int, part: Json) -> None:
            nonlocal sent
            sent = True
            streams[wanted[index].request].put_answer(part, final=False)

        several = len({row.request for row in wanted}) > 1
        try:
            answers = self._worker.handle(wanted, send)
        except BaseException as error:  # noqa: BLE001 - see above
            if several and not sent:
                self._handle_each(wanted, streams)
                return
            for row in wanted:
                streams[row.request].put(error)
            return
        if several and not sent and any(each.get(REFUSED) for each in answers):
            self._handle_each(wanted, streams)
            return
        last = {row.request: index for index, row in enumerate(wanted)}
        for index, (answer, row) in enumerate(zip(answers, wanted)):
            streams[row.request].put_answer(answer, final=last[row.request] == index)

    def _handle_each(self, rows: list[Row], streams: Sequence[Parts]) -> None:
        """Handle requests one by one, of which one has failed together with others."""
        by_place: dict[int, list[Row]] = {}
        for row in rows:
            by_place.setdefault(row.request, []).append(row)
        for own in by_place.values():
            self._handle(own, streams)

    def close(self) -> None:
        """End its thread."""
        self._thread.stop()
        self._worker.close()


class Parts:
    """An asynchronous iterator of what is sent to one request. Made, and iterated, on an event loop."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._room = threading.Condition()
        self._waiting: deque[Union[StreamedResponse, BaseException]] = deque()
        self._ended = False
        self._gone = False

    @property
    def left(self) -> bool:
        """Whether nobody takes anything any more."""
        return self._gone or bool(self._request.cancelled)

    def put_answer(self, answer: Json, *, final: bool) -> None:
        """A part, or the rest."""
        if answer.get(REFUSED) and self._request.packed is None:
            self.put(refusal(answer))
            return
        told = {name: value for name, value in answer.items() if name != "body"}
        self.put(StreamedResponse(outputs_of([answer["body"]]), final=final, parameters=told))

    def put(self, sent: Union[StreamedResponse, BaseException]) -> None:
        """From any thread. Waits for room; an error needs none."""
        over = isinstance(sent, BaseException) or sent.final
        with self._room:
            while len(self._waiting) >= _MAX_WAITING and not self.left and not over:
                # A client that is cancelled is seen by the one who iterates, too; but perhaps nobody does.
                self._room.wait(1.0)
            if self._gone or self._ended:
                return
            self._waiting.append(sent)
            self._ended = over
        # The loop may be gone, and whoever reads with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> StreamedResponse:
        while True:
            self._wake.clear()
            with self._room:
                if self._waiting:
                    sent = self._waiting.popleft()
                    self._room.notify_all()
                    break
                if self._ended:
                    raise StopAsyncIteration
            await self._wake.wait()
        if isinstance(sent, BaseException):
            raise sent
        return sent

    async def aclose(self) -> None:
        """Nobody takes more of them."""
        with self._room:
            self._gone = True
            self._waiting.clear()
            self._room.notify_all()
