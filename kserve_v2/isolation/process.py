"""One process of a model, as the server sees it: what is said to it and by it as a whole, and how it ends."""

import itertools
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import ChannelClosed, Kind, Message, MessageError
from kserve_v2_child.channel.outbox import LeftOutbox

from kserve_v2.backend import ModelSource
from kserve_v2.errors import InternalError, UnavailableError, UnfinishedError
from kserve_v2.isolation.death import cause_of_death
from kserve_v2.isolation.logs import log_record
from kserve_v2.isolation.remote import remote_error
from kserve_v2.isolation.services import Services
from kserve_v2.isolation.spawner import SPAWNER
from kserve_v2.memory.limit import oom_kills
from kserve_v2.messages import InferRequest

logger = logging.getLogger(__name__)

# A process whose channel is closed is about to be gone; if it is not, the model has closed its descriptors.
_LAST_MOMENTS_S = 2.0
GIVEN_UP = "was ended, because the model was unloaded while it was being loaded"

Json = dict[str, Any]


class ModelProcess:
    """Started by this. From any thread."""

    def __init__(
        self, model: str, python: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """`python`, `environment`: see `Spawner.spawn`. Raises UnavailableError if it cannot be started."""
        self.model = model
        self.numbers = itertools.count(1)
        """For executions."""
        self.executing: dict[int, Sequence[InferRequest]] = {}
        """The requests of executions that are under way."""
        self._services: Services | None = None
        self._on_death: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._replies: dict[int, Future[Message]] = {}
        # Why it was killed; "" if it ends by itself.
        self._killed_for = ""
        self._stopping = self._told_of_death = False
        self._cause = ""
        self._gone = threading.Event()
        self._oom_kills = oom_kills()
        ours, theirs = Channel.pair()
        self._sockets, their_sockets = Channel.pair()
        with theirs, their_sockets:
            try:
                self._popen = SPAWNER.spawn(python, environment, (theirs.fileno(), their_sockets.fileno()))
            except OSError as error:
                ours.close()
                self._sockets.close()
                raise UnavailableError(
                    f"the process of model '{model}' cannot be started: {error.strerror}"
                ) from error
        self.side = Channel(ours)
        self._channels: list[Channel] = []
        self._reader = threading.Thread(target=self._read, name=f"{model}-read", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, name=f"{model}-watch", daemon=True).start()

    def __repr__(self) -> str:
        return f"<ModelProcess {self.model} pid={self._popen.pid} {self._cause or 'alive'}>"

    @property
    def pid(self) -> int:
        """Its number for the operating system."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it is not known to be gone."""
        return not self._gone.is_set()

    def serve(self, source: ModelSource) -> None:
        """Do for it what it asks for, from now on, with what the source has of the server."""
        self._services = Services(self.side, source, self.executing)

    def cancelled(self, number: int, index: int) -> None:
        """Nobody waits for a request of an execution any more. Does not block."""
        if self._services is not None:
            self._services.cancelled(number, index)

    # --- what is asked of it ----------------------------------------------------------------------------------------

    def ask(self, kind: Kind, fields: Json) -> Message:
        """Ask it for something, and wait for the reply. Raises the error that it tells of, and UnavailableError if it
        is gone.
        """
        with self._lock:
            number = next(self.numbers)
            reply = self._replies[number] = Future()
        # If it is gone, whoever waits for the reply is told why.
        with suppress(ChannelClosed):
            self.side.send(kind, number, fields)
        self._check_alive()
        return reply.result()

    def instance(self, fields: Json) -> tuple[Channel, Json]:
        """Have an instance made: the channel to it, and what it is. Raises as `ask`."""
        outbox = LeftOutbox()
        ours, theirs = Channel.pair()
        work = Channel(ours, left_in=outbox)
        with theirs, self._lock:
            number = next(self.numbers)
            reply = self._replies[number] = Future()
            self._channels.append(work)
            # Under the lock: sockets have to come in the order of the messages.
            with suppress(OSError):
                socket.send_fds(self._sockets, [b"\0"], [theirs.fileno(), outbox.fileno()])
            with suppress(ChannelClosed):
                self.side.send(Kind.INSTANCE, number, fields)
        self._check_alive()
        try:
            return work, reply.result().fields
        except BaseException:
            work.close()
            raise

    def _check_alive(self) -> None:
        """What was asked of it may have been asked too late to be noticed when it ended."""
        if not self.alive:
            self._fail_replies()

    def watch(self, on_death: Callable[[], None]) -> None:
        """Have this called when it is gone, on a thread that belongs to nobody else; not if it was to stop."""
        with self._lock:
            # `_watch` looks at it once more after it has set that it is gone.
            self._on_death = on_death
            late = self._told_of_death
        if late:
            threading.Thread(target=on_death, name=f"{self.model}-watch", daemon=True).start()

    # --- its end ----------------------------------------------------------------------------------------------------

    def error(self) -> UnfinishedError:
        """Why something that it was doing is not done: it is gone, or about to be. Waits until that is so."""
        if not self._gone.wait(_LAST_MOMENTS_S):
            self.kill("has closed its connection to the server, and was killed")
            self._gone.wait()
        return UnfinishedError(f"the process of model '{self.model}' {self._cause}")

    @property
    def cause(self) -> str:
        """How it has ended, as in "exited with status 3"; "" as long as it has not."""
        return self._cause

    def kill(self, why: str) -> None:
        """End it at once, with all that it has started. `why`: what is told those who wait for it."""
        with self._lock:
            if self._gone.is_set():
                return
            self._killed_for = self._killed_for or why
            # The model may have left its group. Neither number is anybody else's as long as it is not reaped.
            for end in (os.killpg, os.kill):
                with suppress(OSError):
                    end(self._popen.pid, signal.SIGKILL)

    def stop(self, timeout_s: float) -> None:
        """Have the model closed, and end it: by itself if it does so in time. Raises what the model raises."""
        self._stopping = True
        stopped = threading.Timer(
            timeout_s, self.kill, (f"did not end within {timeout_s:g} s, and was killed",)
        )
        stopped.daemon = True
        stopped.start()
        try:
            self.ask(Kind.STOP, {})
        except UnavailableError:
            if self._killed_for:
                logger.warning("the process of model '%s' %s", self.model, self._killed_for)
        finally:
            self._gone.wait()
            stopped.cancel()

    def _watch(self) -> None:
        """Wait for its end, on a thread of its own."""
        pid = self._popen.pid
        if sys.platform == "linux":
            # Not reaped yet: as long as its number is taken, so is that of its group.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        else:
            self._popen.wait()
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        SPAWNER.ended(pid)
        with self._lock:
            status = self._popen.wait()
            self._cause = self._killed_for or cause_of_death(status, self._oom_kills)
            self._gone.set()
            channels, self._channels = self._channels, []
        # What the model has started may still have the other ends.
        for channel in channels:
            channel.hang_up()
        self._sockets.close()
        if self._services is not None:
            self._services.close()
        # Its last words are still to be read.
        self._reader.join(_LAST_MOMENTS_S)
        self.side.close()
        self._fail_replies()
        with self._lock:
            on_death, self._told_of_death = self._on_death, True
        if on_death is not None and not self._stopping:
            on_death()

    def _fail_replies(self) -> None:
        with self._lock:
            replies, self._replies = self._replies, {}
        for reply in replies.values():
            reply.set_exception(self.error())

    # --- what it says -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take what it says, on a thread of its own."""
        try:
            while True:
                try:
                    self._take(self.side.receive())
                except MessageError as error:
                    logger.error("a message of model '%s' was lost: %s", self.model, error)  # noqa: TRY400
                    if self._services is not None:
                        self._services.lost(error)
        except ChannelClosed:
            pass
        except Exception:
            logger.exception("the process of model '%s' has sent what it must not", self.model)
        if not self._stopping:
            # It may be gone already; otherwise it cannot be talked to any more.
            self.error()

    def _take(self, message: Message) -> None:
        kind = message.kind
        if kind is Kind.LOG:
            log_record(message.fields)
        elif kind in (Kind.COMPLETED, Kind.LOADED, Kind.READY, Kind.REPLY, Kind.ERROR):
            with self._lock:
                reply = self._replies.pop(message.number, None)
            if reply is not None and kind is Kind.ERROR:
                reply.set_exception(remote_error(message.fields))
            elif reply is not None:
                reply.set_result(message)
        elif self._services is not None:
            self._services.take(message)
        else:
            raise InternalError(f"a message of kind {kind!r}")
