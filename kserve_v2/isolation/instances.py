"""The instances of an isolated model on the server's side: one for each way in which the model's own may be asked."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from kserve_v2_child.channel import Channel
from kserve_v2_child.messages import ChannelClosed, Kind, Message, MessageError

from kserve_v2.errors import InternalError
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.remote import remote_error
from kserve_v2.isolation.requests import outputs_of, take_back, told
from kserve_v2.messages import InferRequest, Tensors

# What is left to a model to close an instance in.
CLOSE_S = 30.0


class Link:
    """The way to one instance in a model's process."""

    def __init__(self, process: ModelProcess, work: Channel, timeout_s: float | None) -> None:
        """`timeout_s`: how long one execution may take."""
        self.process = process
        self.work = work
        self._timeout_s = timeout_s

    def execute(self, requests: Sequence[InferRequest], groups: Sequence[Tensors], how: str) -> Message:
        """Execute one batch, and wait for the answer. `how`: "" for tensors that are joined, or "separate". Raises what
        the model raises, and UnavailableError if the process dies of it.
        """
        process = self.process
        number = next(process.numbers)
        fields: dict[str, Any] = {"requests": [told(request) for request in requests]}
        if how:
            fields[how] = True
        process.executing[number] = requests
        try:
            return self.ask(Kind.EXECUTE, number, fields, groups)
        finally:
            del process.executing[number]

    def ask(
        self, kind: Kind, number: int, fields: dict[str, Any] | None = None, groups: Sequence[Tensors] = ()
    ) -> Message:
        """Say something, and wait for the reply."""
        try:
            self.work.send(kind, number, fields, groups)
            message = self.work.receive(self._timeout_s)
        except ChannelClosed:
            raise self.process.error() from None
        except TimeoutError:
            self.process.kill(
                f"did not finish within execution_timeout of {self._timeout_s:g} s and was killed"
            )
            raise self.process.error() from None
        except MessageError as error:
            raise InternalError(str(error)) from None
        if message.kind is Kind.ERROR:
            raise remote_error(message.fields)
        return message

    def close(self) -> None:
        """Close the instance. Raises what that raises; nothing if its process is gone."""
        if self.process.alive:
            self._timeout_s = CLOSE_S
            try:
                self.ask(Kind.STOP, next(self.process.numbers))
            finally:
                self.work.close()


class _Isolated:
    """What all kinds have in common."""

    # What comes out of the channel is the server's own.
    fresh_outputs: Literal[True] = True

    def __init__(self, link: Link) -> None:
        self._link = link

    def close(self) -> None:
        """Close the instance in its process."""
        self._link.close()


class IsolatedInstance(_Isolated):
    """Executes one batch at a time."""

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Execute a batch whose tensors are joined."""
        message = self._link.execute(requests, (tensors,), "")
        take_back(message.fields, message.groups, requests)
        outputs: Tensors = message.groups[0]
        return outputs


class IsolatedSeparateInstance(_Isolated):
    """Executes one batch at a time, each request with tensors of its own."""

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Sequence[Tensors]:
        """Execute a batch whose tensors are not joined."""
        message = self._link.execute(requests, tensors, "separate")
        take_back(message.fields, message.groups, requests)
        return outputs_of(message.fields, message.groups)


class IsolatedStreamInstance(_Isolated):
    """Answers one request at a time, any number of times."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        """Yield the responses to a request."""
        link, process = self._link, self._link.process
        number = next(process.numbers)
        process.executing[number] = (request,)
        try:
            message = link.ask(
                Kind.EXECUTE, number, {"requests": [told(request)], "stream": True}, (tensors,)
            )
            while not message.fields.get("end"):
                take_back(message.fields, message.groups, (request,))
                yield message.groups[0]
                del message
                message = link.ask(Kind.NEXT, number)
        except GeneratorExit:
            link.ask(Kind.CLOSE, number)
            raise
        finally:
            del process.executing[number]
