"""The way to an instance that does several things at a time: a thread reads the replies, for those who wait."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import ChannelClosed, Kind, Message, MessageError

from kserve_v2.errors import InternalError
from kserve_v2.isolation.link import Link, NotSentError
from kserve_v2.isolation.pace import Pace
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.remote import remote_error
from kserve_v2.messages import Tensors

Json = dict[str, Any]
Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Message]", float]


class AsyncLink(Link):
    """To an instance that does several things at a time."""

    def __init__(
        self, process: ModelProcess, work: Channel, timeout_s: float | None, *, paced: bool = False
    ) -> None:
        """`paced`: the instance says when it has begun what it was given."""
        super().__init__(process, work, timeout_s)
        self._lock = threading.Lock()
        self._waiting: dict[int, Waiting] = {}
        self._pace = Pace() if paced else None
        self._closing = False
        self._closed: Message | None = None
        name = f"{process.model}-replies"
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._reader.start()

    async def ask_async(
        self, kind: Kind, number: int, fields: Json | None = None, groups: Sequence[Tensors] = ()
    ) -> Message:
        """As `ask`, on an event loop."""
        (reply,) = self.begin(kind, (number,), fields, groups)
        return checked(await reply)

    def begin(
        self, kind: Kind, numbers: Sequence[int], fields: Json | None = None, groups: Sequence[Tensors] = ()
    ) -> "Sequence[asyncio.Future[Message]]":
        """Say something, on an event loop: what will be the reply under each number. Raises NotSentError."""
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Message]] = [loop.create_future() for _ in numbers]
        pace = self._pace if kind is Kind.EXECUTE else None
        with self._lock:
            now_s = time.monotonic()
            for number, reply in zip(numbers, replies, strict=True):
                self._waiting[number] = (loop, reply, now_s)
        if pace is not None:
            pace.given(numbers, streams=fields is not None and ("stream" in fields or "streams" in fields))
        try:
            self._work.send(kind, numbers[0], fields, groups)
        except BaseException as error:
            with self._lock:
                for number in numbers:
                    self._waiting.pop(number, None)
            if pace is not None:
                pace.begun(numbers[0])
            if isinstance(error, ChannelClosed):
                raise NotSentError from None
            raise
        if not self._reader.is_alive():
            # It may have ended between the two.
            self._fail_all()
        return replies

    def when_free(self, callback: Callable[[], None]) -> None:
        """See `PacedInstance`."""
        if self._pace is None:
            callback()
        else:
            self._pace.when_free(callback)

    def close(self) -> None:
        """As that of any link. Nobody waits for another reply any more."""
        self._closing = True
        if self.process.alive:
            with suppress(ChannelClosed):
                self._work.send(Kind.STOP, next(self.process.numbers))
                self._reader.join(self.close_s)
        self._work.close()
        if self._closed is not None and self._closed.kind is Kind.ERROR:
            raise remote_error(self._closed.fields)

    def _read(self) -> None:
        """Take the replies, on a thread of its own."""
        tick_s = None if self.timeout_s is None else max(0.05, self.timeout_s / 4)
        try:
            while True:
                try:
                    message = self._work.receive(tick_s)
                except TimeoutError:
                    self._check_times()
                except MessageError as error:
                    self._give(error.number, InternalError(str(error)))
                else:
                    if self._pace is not None:
                        self._pace.heard(message)
                    if self._closing and message.number not in self._waiting:
                        if message.kind is Kind.BEGUN:
                            continue
                        self._closed = message
                        return
                    if message.kind is not Kind.BEGUN:
                        self._give(message.number, message)
                    # Otherwise its tensors would stay alive until another one comes.
                    del message
                    self._check_times()
        except ChannelClosed:
            self._fail_all()

    def _check_times(self) -> None:
        if self.timeout_s is None:
            return
        with self._lock:
            oldest_s = min((since_s for _, _, since_s in self._waiting.values()), default=None)
        if oldest_s is None and self._pace is not None:
            oldest_s = self._pace.stuck_since_s()
        if oldest_s is not None and time.monotonic() - oldest_s >= self.timeout_s:
            self.end_late()

    def _fail_all(self) -> None:
        if self._pace is not None:
            self._pace.lost()
        if not self._waiting:
            return
        error = self.process.error()
        for number in list(self._waiting):
            self._give(number, error)

    def _give(self, number: int, outcome: Message | Exception) -> None:
        with self._lock:
            waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        loop, reply, _ = waiting

        def settle() -> None:
            if reply.done():
                return
            if isinstance(outcome, Exception):
                reply.set_exception(type(outcome)(*outcome.args))
            else:
                reply.set_result(outcome)

        # The model's code does not run on that loop, but its thread may have been interrupted.
        with suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(settle)


def checked(message: Message) -> Message:
    """A reply. Raises what the model has raised."""
    if message.kind is Kind.ERROR:
        raise remote_error(message.fields)
    return message
