"""The way to one instance in a model's process: a request, and the wait for its reply."""

from collections.abc import Sequence
from typing import Any

from kserve_v2_child.channel import Channel
from kserve_v2_child.messages import ChannelClosed, Kind, Message, MessageError

from kserve_v2.errors import InternalError
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.remote import remote_error
from kserve_v2.messages import Tensors

# What is left to a model to close an instance in.
_CLOSE_S = 30.0

Json = dict[str, Any]


class NotSentError(Exception):
    """The process was gone before it was told what to do."""


class Link:
    """To an instance that does one thing at a time."""

    close_s = _CLOSE_S

    def __init__(self, process: ModelProcess, work: Channel, timeout_s: float | None) -> None:
        """`timeout_s`: how long a reply may take."""
        self.process = process
        self._work = work
        self._timeout_s = timeout_s

    def ask(
        self, kind: Kind, number: int, fields: Json | None = None, groups: Sequence[Tensors] = ()
    ) -> Message:
        """Say something, and wait for the reply. Raises what the model raises, UnavailableError if the process dies of
        it, and NotSentError.
        """
        try:
            self._work.send(kind, number, fields, groups)
        except ChannelClosed:
            raise NotSentError from None
        try:
            message = self._work.receive(self._timeout_s)
        except ChannelClosed:
            raise self.process.error() from None
        except TimeoutError:
            self.end_late()
            raise self.process.error() from None
        except MessageError as error:
            raise InternalError(str(error)) from None
        if message.kind is Kind.ERROR:
            raise remote_error(message.fields)
        return message

    def end_late(self) -> None:
        """An execution takes too long: end it, with its process."""
        self.process.kill(f"did not finish within execution_timeout of {self._timeout_s:g} s and was killed")

    def close(self) -> None:
        """Close the instance. Raises what that raises; nothing if its process is gone."""
        if self.process.alive:
            self._timeout_s = _CLOSE_S
            try:
                self.ask(Kind.STOP, next(self.process.numbers))
            except NotSentError:
                pass
            finally:
                self._work.close()
