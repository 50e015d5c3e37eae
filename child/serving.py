"""The instances of a model that execute one thing at a time: a request of the server, then the reply to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .answers import StreamedResponse
from .channel.channel import Channel
from .channel.messages import ChannelClosed, Kind, Message, MessageError
from .executing import Executing
from .host import Host, Json
from .logs import log_for
from .outcomes import MistakeError, next_inputs, parameters, sendable, sendable_list
from .traces import attach, detach

# What is said of a request that is as it is by default.
_PLAIN: Sequence[Json] = ({},)

# Marks the end of a stream.
_END: Any = object()

KINDS = ("execute", "execute_async", "stream", "stream_async", "streams_async")
"""In which ways an instance may be asked."""


def describe(instance: Any) -> Json:
    """What the server has to know of an instance."""
    most = getattr(instance, "max_concurrency", None)
    return {
        "type": type(instance).__name__,
        "kinds": [kind for kind in KINDS if hasattr(instance, kind)],
        "paced": hasattr(instance, "when_free"),
        "max_concurrency": most if most is None or type(most) is int else repr(most),
        "metadata": getattr(instance, "said_metadata", ""),
    }


class Conversation:
    """What all kinds of instances say to the server, on the channel of one of them."""

    def __init__(
        self,
        instance: Any,
        model: str,
        work: Channel,
        host: Host,
        executing: Executing,
        *,
        separate: bool = False,
    ) -> None:
        """`separate`: it gets the tensors of each request by themselves."""
        self.instance = instance
        self.separate = separate
        self.work = work
        self._model = model
        self._host = host
        self._executing = executing
        self._attached: dict[int, Any] = {}

    def begin(self, message: Message) -> Sequence[Any]:
        """The requests of an execution that begins now."""
        groups = message.groups
        requests = [
            self._host.request({"model_name": self._model, **each}, {})
            for each in message.fields.get("requests", _PLAIN)
        ]
        if len(requests) == len(groups):
            for request, inputs in zip(requests, groups):
                request.inputs = inputs
        if "streams" in message.fields:
            for number, request in zip(message.fields["streams"], requests):
                self._executing.begin(number, [request])
        else:
            self._executing.begin(message.number, requests)
        log_for(requests)
        traced = [each["trace"] for each in message.fields.get("requests", ()) if "trace" in each]
        if traced:
            # Only one can be current.
            self._attached[message.number] = attach(traced[0])
        return requests

    def end(self, number: int) -> None:
        """An execution is over."""
        self._executing.end(number)
        if self._attached:
            detach(self._attached.pop(number, None))

    def end_stream(self, number: int) -> None:
        """One of several streams that were begun together is over."""
        self._executing.end(number)

    def respond(
        self, message: Message, answers: list[Any], requests: Sequence[Any], *, later: bool = False
    ) -> None:
        """Send what an execution has given: the one element of `answers`, which is taken out. Nobody here keeps the
        execution's tensors any longer, so that those which the model hands on can go back as they are. `later`: see
        `Channel.send`.

        Raises MistakeError if it is nothing that could be an answer.
        """
        number, message.groups = message.number, []
        for request in requests:
            # A new one: the model may have kept the other.
            request.inputs = {}
        outputs = answers.pop()
        fields: Json = {}
        if self.separate or type(outputs) is list:
            groups, failures = sendable_list(outputs, requests, self._model)
            if not self.separate:
                fields["each"] = True
            if failures:
                fields["failures"] = {
                    str(index): self._host.failure(error) for index, error in failures.items()
                }
        else:
            groups = [sendable(outputs, self._model)]
        del outputs
        if (given := parameters(requests, self._model)) is not None:
            fields["parameters"] = given
        again, inputs = next_inputs(requests, self._model)
        if again:
            fields["again"] = again
            groups += inputs
        self._send(number, fields, groups, give=True, later=later)

    def respond_in_stream(self, number: int, response: Any, requests: Sequence[Any]) -> None:
        """Send one response of a stream. Raises as `respond`."""
        fields: Json = {}
        if isinstance(response, StreamedResponse):
            requests[0].response_parameters = dict(response.parameters)
            fields["marked"] = {"final": response.final}
            if response.error is not None:
                fields["marked"]["error"] = self._host.failure(response.error)
            response = response.outputs
        fields["parameters"] = parameters(requests, self._model) or [{}]
        self._send(number, fields, [sendable(response, self._model)])

    def _send(
        self, number: int, fields: Json, groups: Sequence[Any], *, give: bool = False, later: bool = False
    ) -> None:
        try:
            self.work.send(Kind.RESPOND, number, fields, groups, give=give, later=later)
        except MessageError as error:
            raise MistakeError(f"the answer of model '{self._model}' cannot be sent: {error}") from error

    def finish(self, number: int) -> None:
        """There are no more responses, or what was asked for is done."""
        self.work.send(Kind.RESPOND, number, {"end": True})

    def begun(self, number: int) -> None:
        """The instance would begin what comes next at once."""
        self.work.send(Kind.BEGUN, number)

    def fail_unread(self, error: MessageError) -> None:
        """Something was asked for that could not be read."""
        for number in error.fields.get("streams", (error.number,)):
            self.fail(number, error)

    def fail(self, number: int, error: BaseException) -> None:
        """Tell the server that an execution has failed."""
        self.work.send(Kind.ERROR, number, self._host.failure(error))

    def close(self, number: int) -> None:
        """Close the instance, and say so."""
        try:
            self.instance.close()
        except BaseException as error:  # noqa: BLE001 - whatever a model raises
            self.fail(number, error)
        else:
            self.finish(number)

    async def close_async(self, number: int) -> None:
        """The same, on the event loop that the instance is executed on."""
        if not hasattr(self.instance, "close_async"):
            self.close(number)
            return
        try:
            await self.instance.close_async()
        except BaseException as error:  # noqa: BLE001 - whatever a model raises
            self.fail(number, error)
        else:
            self.finish(number)


def serve(conversation: Conversation) -> None:
    """Execute what comes, until the instance is closed. Raises ChannelClosed if the server is gone."""
    streams = _Streams(conversation)
    while True:
        try:
            message = conversation.work.receive()
        except MessageError as error:
            conversation.fail_unread(error)
            continue
        if message.kind is Kind.STOP:
            conversation.close(message.number)
            return
        try:
            if message.kind is not Kind.EXECUTE:
                streams.go_on(message)
            elif "stream" in message.fields:
                streams.begin(message)
            else:
                _execute(conversation, message)
        except ChannelClosed:
            raise
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this execution's failure
            conversation.fail(message.number, error)
        # Otherwise the last tensors would stay alive while the instance is idle.
        del message


def _execute(conversation: Conversation, message: Message) -> None:
    requests = conversation.begin(message)
    try:
        answers = [
            conversation.instance.execute(
                message.groups if conversation.separate else message.groups[0], requests
            )
        ]
        # What has come already is answered soon: the server is woken once for several answers.
        conversation.respond(message, answers, requests, later=conversation.work.has_next)
    finally:
        conversation.end(message.number)


class _Streams:
    """The streams of an instance. It has one at a time, but one that is given up may not have been closed yet."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._open: dict[int, tuple[Any, Sequence[Any]]] = {}

    def begin(self, message: Message) -> None:
        """Answer a request for the first time."""
        conversation, number = self._conversation, message.number
        requests = conversation.begin(message)
        try:
            responses = conversation.instance.stream(message.groups[0], requests[0])
        except BaseException:
            conversation.end(number)
            raise
        self._open[number] = responses, requests
        self._next(number)

    def go_on(self, message: Message) -> None:
        """Answer it once more, or close it."""
        if message.kind is Kind.NEXT:
            self._next(message.number)
        else:
            self._close(message.number)
            self._conversation.finish(message.number)

    def _next(self, number: int) -> None:
        responses, requests = self._open[number]
        try:
            outputs = next(responses, _END)
            if outputs is not _END:
                self._conversation.respond_in_stream(number, outputs, requests)
                return
        except ChannelClosed:
            raise
        except BaseException:
            self._close(number)
            raise
        self._close(number)
        self._conversation.finish(number)

    def _close(self, number: int) -> None:
        """Raises what the model raises."""
        responses, _ = self._open.pop(number, (None, ()))
        try:
            # Only generators have `close`.
            close = getattr(responses, "close", None)
            if close is not None:
                close()
        finally:
            self._conversation.end(number)
