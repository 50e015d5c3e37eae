"""What a model's process asks the server for, and is told by it while it executes: calls of other models, metrics,
loads, and that nobody waits for a request any more.

Calls are made on an event loop of the process's own, so that whoever waits for another model keeps no thread, and no
process that does not listen holds up anybody else.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import ChannelClosed, Kind, Message, MessageError

from kserve_v2.backend import ModelSource
from kserve_v2.errors import InternalError, as_serving_error, describe
from kserve_v2.messages import InferRequest, InferResponse

logger = logging.getLogger(__name__)

Json = dict[str, Any]

_METRICS = frozenset({"family", "metric", "increment", "set", "observe", "value", "remove"})


class Services:
    """Of one process."""

    def __init__(
        self, side: Channel, source: ModelSource, executing: Mapping[int, Sequence[InferRequest]]
    ) -> None:
        """`executing`: the requests of executions that are under way, by number."""
        self._side = side
        self._source = source
        self._executing = executing
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        # By the process's number for a call. On the loop's thread.
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, _Stream] = {}

    # --- from any thread --------------------------------------------------------------------------------------------

    def cancelled(self, number: int, index: int) -> None:
        """Nobody waits for a request of an execution any more. Does not block."""
        if number in self._executing:
            self._later(lambda: self._send(Kind.CANCEL, number, {"index": index}))

    def take(self, message: Message) -> None:
        """The process asks for something. On the thread that reads from it."""
        kind, number = message.kind, message.number
        if kind is Kind.METRIC:
            self._answer(number, lambda: self._do_metrics(message.fields))
        elif kind is Kind.CONTROL:
            # It may take as long as a load does.
            control = threading.Thread(
                target=self._answer, args=(number, lambda: self._do_control(message)), daemon=True
            )
            control.start()
        elif kind is Kind.CALL:
            self._later(lambda: self._begin(message))
        elif kind is Kind.NEXT:
            self._later(lambda: self._go_on(number))
        elif kind is Kind.CLOSE:
            self._later(lambda: self._give_up(number))
        else:
            raise InternalError(f"a message of kind {kind!r}")

    def lost(self, error: MessageError) -> None:
        """The process has asked for something, but its tensors cannot be had here. It waits for an answer."""
        if error.kind in (Kind.CALL, Kind.CONTROL):
            self._fail(error.number, InternalError(str(error)))

    def close(self) -> None:
        """The process is gone: give up what it has asked for."""
        with self._lock:
            self._closed = True
            if self._loop is not None:
                self._tell_loop(self._loop, self._loop.stop)

    # --- metrics and loads ------------------------------------------------------------------------------------------

    def _answer(self, number: int, do: Callable[[], Any]) -> None:
        try:
            value = do()
        except Exception as error:  # noqa: BLE001 - told to who has asked
            self._fail(number, error)
        else:
            self._send(Kind.REPLY, number, {"value": value})

    def _do_metrics(self, fields: Json) -> Any:
        if self._source.metrics is None or fields["do"] not in _METRICS:
            raise InternalError("there is no server that has metrics")
        return getattr(self._source.metrics, fields["do"])(*fields["with"])

    def _do_control(self, message: Message) -> Any:
        control, fields = self._source.control, message.fields
        if control is None:
            raise InternalError("there is no server that loads models")
        name, argument = fields["with"]
        if fields["do"] == "is_ready":
            return control.is_ready(name, argument)
        if fields["do"] == "unload":
            return control.unload(name, dependents=argument)
        files = (
            {path: data.tobytes() for path, data in message.groups[0].items()} if fields["files"] else None
        )
        return control.load(name, argument, files)

    # --- calls, on the loop's thread --------------------------------------------------------------------------------

    def _later(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                # Nobody would end the loop again, or what is begun behind its end.
                return
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                name = f"{self._source.name}-calls"
                threading.Thread(target=self._run, args=(self._loop,), name=name, daemon=True).start()
            self._tell_loop(self._loop, callback)

    def _tell_loop(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # it is closed: its thread was interrupted
            loop.call_soon_threadsafe(callback)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
            loop.run_until_complete(_cancelled(list(self._calls.values())))
        finally:
            loop.close()

    def _begin(self, message: Message) -> None:
        number, fields = message.number, message.fields
        # Each of them may be over at any moment.
        executing = [(self._executing.get(at, ()), index) for at, index in fields["serving"]]
        serving = [requests[index] for requests, index in executing if index < len(requests)]
        request = InferRequest(
            fields["model_name"],
            message.groups[0],
            fields.get("model_version", ""),
            fields.get("id", ""),
            fields.get("parameters", {}),
            tuple(fields.get("requested_outputs", ())),
            fields.get("control", {}),
        )
        if fields.get("stream"):
            stream = self._streams[number] = _Stream()
            self._start(number, self._stream(number, stream, request, serving))
        else:
            self._start(number, self._call(number, request, serving))

    def _start(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._calls[number] = asyncio.get_running_loop().create_task(work)

        def over(_: asyncio.Task[None]) -> None:
            self._calls.pop(number, None)
            self._streams.pop(number, None)

        task.add_done_callback(over)

    async def _call(self, number: int, request: InferRequest, serving: Sequence[InferRequest]) -> None:
        try:
            if self._source.caller is None:
                raise _no_server()  # noqa: TRY301
            response = await self._source.caller.call_async(request, serving)
        except Exception as error:  # noqa: BLE001 - told to who has called
            self._fail(number, error)
        else:
            self._send_response(number, response)

    async def _stream(
        self, number: int, stream: "_Stream", request: InferRequest, serving: Sequence[InferRequest]
    ) -> None:
        try:
            if self._source.caller is None:
                raise _no_server()  # noqa: TRY301
            responses: AsyncGenerator[InferResponse, None] = self._source.caller.stream_async(
                request, serving
            )
            async with aclosing(responses):
                async for response in responses:
                    self._send_response(number, response)
                    await stream.asked_for_next()
        except Exception as error:  # noqa: BLE001 - as in `_call`
            self._fail(number, error)
        else:
            self._send(Kind.ANSWER, number, {"end": True})

    def _go_on(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.next.set()

    def _give_up(self, number: int) -> None:
        task = self._calls.get(number)
        if task is not None:
            task.cancel()

    # --- to the process ---------------------------------------------------------------------------------------------

    def _send_response(self, number: int, response: InferResponse) -> None:
        fields: Json = {
            "model_name": response.model_name,
            "model_version": response.model_version,
            "id": response.id,
            "parameters": response.parameters,
            "batch_rows": response.batch_rows,
        }
        if response.error is not None:
            fields["error"] = _told(response.error)
        if response.final:
            fields["final"] = True
        self._send(Kind.ANSWER, number, fields, (response.outputs,))

    def _fail(self, number: int, error: Exception) -> None:
        self._send(Kind.ERROR, number, _told(error))

    def _send(self, kind: Kind, number: int, fields: Json, groups: Sequence[Any] = ()) -> None:
        try:
            self._side.send(kind, number, fields, groups)
        except MessageError as error:
            self._send(Kind.ERROR, number, _told(InternalError(str(error))))
        except ChannelClosed:
            pass


class _Stream:
    """A stream of responses, of which the process asks for one at a time."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    async def asked_for_next(self) -> None:
        """Wait until it asks for the next one."""
        await self.next.wait()
        self.next.clear()


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _told(error: Exception) -> Json:
    known = as_serving_error(error)
    if known is None:
        logger.error("what a model has asked for has failed", exc_info=error)
        known = InternalError(describe(error))
    return {"kind": type(known).__name__, "code": known.code.name, "text": known.message}


def _no_server() -> InternalError:
    return InternalError("there is no server whose models could be called")
