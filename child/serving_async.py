"""The instances of a model that execute several things at a time, on an event loop of their own. The model's code runs
on that loop, and may do to it what it likes: stop it, cancel its tasks, close it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from functools import partial
from typing import Any

from .channel.messages import ChannelClosed, Kind, Message, MessageError
from .serving import Conversation
from .undisturbed import undisturbed

logger = logging.getLogger("kserve_v2.isolation")


def serve_async(conversation: Conversation) -> None:
    """Execute what comes, until the instance is closed. Raises ChannelClosed if the server is gone, and RuntimeError if
    the model has closed the event loop.
    """
    loop = asyncio.new_event_loop()
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
        # For each stream, what the server asks of it: True for the next response, False to close it.
        self._asked: dict[int, asyncio.Queue[bool]] = {}
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
                        self._conversation.fail(error.number, error)
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
        self._conversation.close(self._stop)

    def _take(self, message: Message) -> None:
        """Begin what the server asks for."""
        if message.kind is Kind.EXECUTE:
            streams = "stream" in message.fields
            self._begin(message, self._stream(message) if streams else self._execute(message))
        elif message.number in self._asked:
            self._asked[message.number].put_nowait(message.kind is Kind.NEXT)
        else:
            # It has ended meanwhile.
            self._conversation.finish(message.number)

    def _begin(self, message: Message, work: Coroutine[Any, Any, None]) -> None:
        try:
            task = asyncio.get_running_loop().create_task(work)
        except BaseException as error:  # noqa: BLE001 - the model may have brought a task factory of its own
            work.close()
            self._conversation.fail(message.number, error)
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(self, message: Message) -> None:
        conversation, number = self._conversation, message.number
        try:
            requests = conversation.begin(message)
            execute = conversation.instance.execute_async
            answers = [
                await execute(message.groups if conversation.separate else message.groups[0], requests)
            ]
            conversation.respond(message, answers, requests)
        except ChannelClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this execution's failure
            conversation.fail(number, error)
        finally:
            conversation.end(number)

    async def _stream(self, message: Message) -> None:
        conversation, number = self._conversation, message.number
        self._asked[number] = asyncio.Queue()
        try:
            requests = conversation.begin(message)
            responses = conversation.instance.stream_async(message.groups[0], requests[0])
            try:
                await self._pass_on(responses, number, requests)
            finally:
                # Only async generators have `aclose`.
                close = getattr(responses, "aclose", None)
                if close is not None:
                    await close()
            conversation.finish(number)
        except ChannelClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - as in `_execute`
            conversation.fail(number, error)
        finally:
            del self._asked[number]
            conversation.end(number)

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
