"""The way to one instance in a model's process: a request, and the wait for its reply."""

from collections.abc import Sequence
from typing import Any

from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import ChannelClosed, Kind, Message, MessageError

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
        self.timeout_s = timeout_s
        self.ended = False
        """Whether it leads nowhere any more, though its process may not be gone yet."""
        # What was asked last. Answers to what came before it are nobody's: whoever has asked was interrupted.
        self._last = 0

    @property
    def lost(self) -> bool:
        """Whether there is nothing to be had over it any more."""
        return self.ended or not self.process.alive

    def ask(
        self, kind: Kind, number: int, fields: Json | None = None, groups: Sequence[Tensors] = ()
    ) -> Message:
        """Say something, and wait for the reply. Raises what the model raises, UnavailableError if the process dies of
        it, and NotSentError.
        """
        self._last = number
        try:
            self._work.send(kind, number, fields, groups)
        except ChannelClosed:
            raise NotSentError from None
        try:
            while True:
                try:
                    message = self._work.receive(self.timeout_s)
                except MessageError as error:
                    if error.number == number:
                        raise InternalError(str(error)) from None
                    self._check_stray(error.number)
                    continue
                if message.number == number:
                    break
                self._check_stray(message.number)
        except ChannelClosed:
            raise self.process.error() from None
        except TimeoutError:
            self.end_late()
            raise self.process.error() from None
        if message.kind is Kind.ERROR:
            raise remote_error(message.fields)
        return message

    def _check_stray(self, number: int, awaited: int = 0) -> None:
        """An answer has come that nobody waits for. Raises ChannelClosed if nobody has ever asked for it, or it is the
        turn of `awaited`, which was asked before.
        """
        if number > (awaited or self._last):
            self.process.kill("has answered what it was not asked, and was killed")
            raise ChannelClosed("an answer to nothing")

    def end_late(self) -> None:
        """An execution takes too long: end it, with its process."""
        self.process.kill(f"did not finish within execution_timeout of {self.timeout_s:g} s and was killed")

    # --- by the server's event loop; see `PostingInstance` ----------------------------------------------------------

    @property
    def descriptor(self) -> int:
        """What becomes readable with the reply to what was posted, or when the process is gone."""
        descriptor: int = self._work.fileno()
        return descriptor

    def post(self, number: int, fields: Json, groups: Sequence[Tensors]) -> None:
        """Have something executed, without waiting for the reply: with `flush` at the latest. Raises NotSentError."""
        self._last = number
        self._work.expect()
        try:
            self._work.send(Kind.EXECUTE, number, fields, groups, later=True)
        except ChannelClosed:
            self.ended = True
            raise NotSentError from None

    def flush(self) -> None:
        """Send what was posted. Raises NotSentError: none of what was posted since the last time was sent."""
        try:
            self._work.flush()
        except ChannelClosed:
            self.ended = True
            raise NotSentError from None

    def collect(self, number: int) -> Message | None:
        """The reply to what was posted as `number`, the first that is not answered, 0 if there is none; None if it has
        not come. Raises what the model raises, and ChannelClosed.
        """
        try:
            while True:
                try:
                    message = self._work.receive(0)
                except MessageError as error:
                    if error.number == number:
                        raise InternalError(str(error)) from None
                    self._check_stray(error.number, number)
                else:
                    if message.number == number:
                        break
                    self._check_stray(message.number, number)
                self._work.expect()
        except TimeoutError:
            return None
        except ChannelClosed:
            self.ended = True
            raise
        if message.kind is Kind.ERROR:
            raise remote_error(message.fields)
        return message

    # --- its end ----------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """The process is gone."""
        self._work.close()

    def close(self) -> None:
        """Close the instance. Raises what that raises; nothing if its process is gone."""
        self.timeout_s = _CLOSE_S
        try:
            if self.process.alive:
                self.ask(Kind.STOP, next(self.process.numbers))
        except NotSentError:
            pass
        finally:
            self._work.close()
