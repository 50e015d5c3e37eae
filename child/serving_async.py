"""The instances of a model that execute several things at a time, on an event loop of their own. The model's code runs
on that loop, and may do to it what it likes: stop it, cancel its tasks, close it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from .channel.messages import ChannelClosed, Kind, Message, MessageError
from .outcomes import MistakeError
from .serving import Conversation
from .undisturbed import undisturbed

logger = logging.getLogger("kserve_v2.isolation")


def serve_async(conversation: Conversation) -> None:
    """Execute what comes, until the instance is closed. Raises ChannelClosed if the server is gone, and RuntimeError if
    the model has closed the event loop.
    """
    # One that the model was loaded on; see `kserve_v2.backend.HasEventLoop`.
    loop = getattr(conversation.instance, "event_loop", None) or asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        main = loop.create_task(_AsyncServing(conversation).run())
        while not main.done():
            try:
                loop.run_until_complete(main)
            except BaseException:  # noqa: PERF203 - it is entered again only if something was wrong
                if loop.is_closed() or main.done():
                    raise
                # The model stopped the loop, or a task of its own raised SystemExit.
                logger.exception("the event loop of the instance goes on")
    finally:
        if not loop.is_closed():
            loop.close()


class _AsyncServing:
    """The executions of one instance."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._tasks: set[asyncio.Task[None]] = set()
        # Executions whose task has not begun.
        self._fresh: set[int] = set()
        # For each stream, what the server asks of it: True for the next response, False to close it.
        self._asked: dict[int, asyncio.Queue[bool]] = {}
        self._when_free: Any = getattr(conversation.instance, "when_free", None)
        # Executions that the server has no answer to, and does not know either whether they have begun.
        self._unbegun: set[int] = set()
        self._stop = 0

    async def run(self) -> None:
        """As `serve_async`."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        broken: list[BaseException] = []

        def receive() -> None:
            work = self._conversation.work
            try:
                while True:
                    try:
                        message = work.receive()
                    except MessageError as error:
                        self._conversation.fail_unread(error)
                        continue
                    if message.kind is Kind.STOP:
                        self._stop = message.number
                        break
                    loop.call_soon_threadsafe(self._take, message)
                    del message
            except BaseException as error:  # noqa: BLE001 - raised further on
                broken.append(error)
            loop.call_soon_threadsafe(over.set)

        threading.Thread(target=receive, name="executions", daemon=True).start()
        await undisturbed(over.wait)
        if broken:
            raise broken[0]
        while self._tasks:
            await undisturbed(partial(asyncio.wait, self._tasks))
        await self._conversation.close_async(self._stop)

    def _take(self, message: Message) -> None:
        """Begin what the server asks for."""
        if message.kind is Kind.EXECUTE:
            self._begin(message)
        elif message.number in self._asked:
            self._asked[message.number].put_nowait(message.kind is Kind.NEXT)
        else:
            # It has ended meanwhile.
            self._conversation.finish(message.number)

    def _begin(self, message: Message) -> None:
        self._fresh.add(message.number)
        work = self._work(message)
        try:
            task = asyncio.get_running_loop().create_task(work)
        except BaseException as error:  # noqa: BLE001 - the model may have brought a task factory of its own
            work.close()
            self._fresh.discard(message.number)
            self._conversation.fail(message.number, error)
            return
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, message))

    def _ended(self, message: Message, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if message.number in self._fresh:
            # The model has cancelled all tasks that it has found, and this one had not begun.
            self._begin(message)

    async def _work(self, message: Message) -> None:
        self._fresh.discard(message.number)
        if "streams" in message.fields:
            await self._streams(message)
        elif "stream" in message.fields:
            await self._stream(message)
        else:
            await self._execute(message)

    def _begins(self, number: int) -> None:
        """Tell the server when a paced instance has begun all that it was given, unless it knows by the answer."""
        if self._when_free is not None:
            self._unbegun.add(number)
            # When the execution waits for the first time, the instance has it.
            asyncio.get_running_loop().call_soon(self._tell_when_begun, number)

    def _tell_when_begun(self, number: int) -> None:
        if number not in self._unbegun:
            return
        loop = asyncio.get_running_loop()

        def tell() -> None:
            if number in self._unbegun:
                self._unbegun.discard(number)
                with suppress(ChannelClosed):
                    self._conversation.begun(number)

        def begun() -> None:
            # The loop may be gone, and the server with it. An answer that is there already goes first.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.call_soon, tell)

        self._when_free(begun)

    async def _execute(self, message: Message) -> None:
        conversation, number = self._conversation, message.number
        try:
            requests = conversation.begin(message)
            execute = conversation.instance.execute_async
            self._begins(number)
            answers = [
                await execute(message.groups if conversation.separate else message.groups[0], requests)
            ]
            conversation.respond(message, answers, requests)
        except ChannelClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this execution's failure
            conversation.fail(number, error)
        finally:
            self._unbegun.discard(number)
            conversation.end(number)

    async def _streams(self, message: Message) -> None:
        """Answer several requests of a batch; each is a stream of its own from now on."""
        conversation, numbers = self._conversation, message.fields["streams"]
        for number in numbers:
            self._asked[number] = asyncio.Queue()
        try:
            requests = conversation.begin(message)
            streams = _one_each(conversation.instance.streams_async(message.groups, requests), numbers)
            message.groups = []
        except BaseException as error:  # noqa: BLE001 - as in `_execute`
            for number in numbers:
                del self._asked[number]
                conversation.end_stream(number)
                with suppress(ChannelClosed):
                    conversation.fail(number, error)
        else:
            self._begins(message.number)
            each = zip(streams, numbers, requests)
            answers = [self._answer(stream, number, [request]) for stream, number, request in each]
            try:
                # All have ended then, even if the model has cancelled some.
                await asyncio.gather(*answers, return_exceptions=True)
            finally:
                for number in [each for each in numbers if each in self._asked]:
                    self._never_begun(number)
        finally:
            conversation.end(message.number)

    def _never_begun(self, number: int) -> None:
        """The model has cancelled a stream of several before it began."""
        del self._asked[number]
        self._conversation.end_stream(number)
        with suppress(ChannelClosed):
            self._conversation.fail(number, asyncio.CancelledError())

    async def _answer(self, responses: Any, number: int, requests: Any) -> None:
        conversation = self._conversation
        try:
            await self._pass_on_and_close(responses, number, requests)
            conversation.finish(number)
        except ChannelClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - as in `_execute`
            conversation.fail(number, error)
        finally:
            del self._asked[number]
            conversation.end_stream(number)

    async def _stream(self, message: Message) -> None:
        conversation, number = self._conversation, message.number
        self._asked[number] = asyncio.Queue()
        try:
            requests = conversation.begin(message)
            self._begins(number)
            responses = conversation.instance.stream_async(message.groups[0], requests[0])
            await self._pass_on_and_close(responses, number, requests)
            conversation.finish(number)
        except ChannelClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - as in `_execute`
            conversation.fail(number, error)
        finally:
            del self._asked[number]
            conversation.end(number)

    async def _pass_on_and_close(self, responses: Any, number: int, requests: Any) -> None:
        try:
            await self._pass_on(responses, number, requests)
        finally:
            # Only async generators have `aclose`.
            close = getattr(responses, "aclose", None)
            if close is not None:
                await close()

    async def _pass_on(self, responses: Any, number: int, requests: Any) -> None:
        asked = True
        while asked:
            try:
                outputs = await responses.__anext__()
            except StopAsyncIteration:
                return
            self._conversation.respond_in_stream(number, outputs, requests)
            del outputs
            asked = await self._asked[number].get()


def _one_each(streams: Sequence[Any], numbers: Sequence[int]) -> Sequence[Any]:
    if len(streams) != len(numbers):
        raise MistakeError(f"the instance began {len(streams)} streams for {len(numbers)} requests")
    return streams
