"""Keeping a model's process: when it dies, another one is started in its place, with the same instances."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from kserve_v2.errors import UnavailableError, reason_of
from kserve_v2.isolation.async_link import AsyncLink
from kserve_v2.isolation.delays import RestartDelays
from kserve_v2.isolation.link import Link
from kserve_v2.isolation.process import ModelProcess

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class OutdatedError(Exception):
    """What a process would be started from is not what the model was loaded from. The text says what is different, and
    what to do.
    """


class Seat:
    """The place of one instance in a process, whichever process is there. `told`: what the instance is made from.
    `deaths`: how many processes in a row have died of what it has executed.
    """

    def __init__(self, told: Json) -> None:
        self.told = told
        self.link: Link | None = None
        self.deaths = 0
        self.listened = False
        """Whether somebody may listen on the descriptor of a way."""
        # Ways to processes that are gone, on which somebody may still listen.
        self._retired: list[Link] = []

    def take(self, link: Link) -> None:
        """From now on this is the way to it."""
        last, self.link = self.link, link
        if last is not None and self.listened:
            self._retired.append(last)
        elif last is not None:
            last.forget()

    def close_retired(self) -> None:
        """Close ways to processes that are gone, while nobody listens on their descriptors."""
        while self._retired:
            self._retired.pop().forget()


class Keeper:
    """Keeps one process. From any thread."""

    def __init__(
        self,
        start: Callable[[], ModelProcess],
        changed: Callable[[], None],
        timeout_s: float | None,
        outdated: Callable[[], str] = lambda: "",
        delays: RestartDelays | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start`: starts a process and loads the model there. `changed` is called on any thread, when the process has
        died, and when it is known what came of its restart. `timeout_s`: how long an execution may take. `outdated`:
        why another process would be another model, "" if it would not; it may block.
        """
        self.deaths = 0
        """How many of its processes have died."""
        self.process: ModelProcess | None = None
        self.failed = False
        """Whether the last restart came to nothing."""
        self._start = start
        self._changed_call = changed
        self._timeout_s = timeout_s
        self._outdated = outdated
        self._delays = delays or RestartDelays()
        self._clock = clock
        self._since_s = clock()
        self._seats: list[Seat] = []
        self._changed = threading.Condition()
        self._leaving = False
        # Of the process that was kept last: what its last restart has failed of, and why that was not tried, or what
        # came of it was not taken.
        self._failure = self._refusal = ""

    @property
    def alive(self) -> bool:
        """Whether there is a process that executes what comes."""
        return self.process is not None and self.process.alive

    def begin(self, process: ModelProcess) -> None:
        """Keep this process from now on."""
        self._since_s = self._clock()
        # First: what the last one's restarts came to is never told of this one.
        self._failure = self._refusal = ""
        self.process = process
        process.watch(self._died)

    def make(self, told: Json) -> tuple[Seat, Json]:
        """Make an instance in the process, which has begun: its seat, and what it is. Raises what that raises."""
        assert self.process is not None  # noqa: S101 - see above
        seat = Seat(told)
        link, made = self._way(seat, self.process)
        seat.take(link)
        with self._changed:
            self._seats.append(seat)
        if not link.process.alive:
            # What is there again may have been made without it.
            self.give_up(seat)
            link.forget()
            raise link.process.error()
        return seat, made

    def give_up(self, seat: Seat) -> None:
        """The instance is not needed any more: it is not made again."""
        with self._changed:
            if seat in self._seats:
                self._seats.remove(seat)

    def _way(self, seat: Seat, process: ModelProcess) -> tuple[Link, Json]:
        """Make an instance in a process: the way to it, and what it is."""
        work, made = process.instance(seat.told)
        kinds = [kind for kind in seat.told["order"] if kind in made.get("kinds", ())]
        concurrent = bool(kinds) and kinds[0].endswith("_async")
        if concurrent:
            return AsyncLink(process, work, self._timeout_s, paced=made.get("paced", False)), made
        return Link(process, work, self._timeout_s), made

    # --- those who need the process -----------------------------------------------------------------------------

    def link(self, seat: Seat) -> Link:
        """The way to an instance. While a restart is under way it is waited for. Raises UnavailableError if there will
        be no process for now.
        """
        with self._changed:
            while True:
                link = seat.link
                assert link is not None  # noqa: S101 - `make` has given it one
                if link.process.alive:
                    return link
                if self.failed or self._leaving:
                    raise self.error(link)
                self._changed.wait()

    def await_process(self) -> None:
        """Wait until there is a process, or there will never be one again."""
        with self._changed:
            while not (self.alive or self._leaving):
                self._changed.wait()

    def error(self, link: Link) -> UnavailableError:
        """Why this way leads nowhere. If its process is only about to be gone, this waits for that."""
        if link.process.alive:
            link.process.error()
        return UnavailableError(self._reason(link.process))

    @property
    def reason(self) -> str:
        """Why nothing is executed now; "" if there is a process, or was none yet."""
        process = self.process
        return "" if process is None or process.alive else self._reason(process)

    def _reason(self, gone: ModelProcess) -> str:
        """Why this one executes nothing. It may have been asked for before it is known here that the process is gone,
        or once there is another one.
        """
        if gone is not self.process:
            return f"{_end_of(gone)}; it has been started again"
        cause = self._failure or _end_of(gone)
        return cause if self._leaving else f"{cause}; {self._refusal or 'it is being started again'}"

    # --- its end --------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Start nothing again: the model is needed no longer."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Close the model in its process, and end that. Raises what the model raises."""
        self.leave()
        process = self.process
        if process is not None:
            process.stop(timeout_s)

    def _died(self) -> None:
        """The process is gone. On a thread that belongs to nobody else: another one is started here."""
        dead = self.process
        assert dead is not None  # noqa: S101 - it was watched
        lived_s = self._clock() - self._since_s
        self.deaths += 1
        told = ""
        while not self._leaving:
            delay_s = self._delays.after(lived_s)
            if not self._refusal:
                logger.error("%s; it is started again in %g s", self._failure or _end_of(dead), delay_s)
            elif self._refusal != told:
                # Once. Files that are put back are noticed at one of the next attempts.
                logger.error("%s; %s", self._failure or _end_of(dead), self._refusal)
            told = self._refusal
            self._changed_call()
            if self._wait(delay_s) or self._restarted():
                return
            lived_s = 0.0

    def _wait(self, delay_s: float) -> bool:
        """Wait for so long. True: no longer, it is not needed any more."""
        with self._changed:
            return self._changed.wait_for(lambda: self._leaving, delay_s)

    def _restarted(self) -> bool:
        """Start a process with all that was in the last one. False: it did not work."""
        process: ModelProcess | None = None
        ways: list[tuple[Seat, Link]] = []
        try:
            self._raise_if_outdated()
            process = self._start()
            for seat in list(self._seats):
                ways.append((seat, self._way(seat, process)[0]))  # noqa: PERF401 - those before one that fails
            # They may have changed before they were read.
            self._raise_if_outdated()
        except Exception as error:  # noqa: BLE001 - whatever the model raises
            if process is not None:
                process.kill("has not made its instances again")
            for _, link in ways:
                link.forget()
            self._note_failure(error)
            return False
        with self._changed:
            self.failed = False
            self.begin(process)
            leaving = self._leaving
            # Before anybody can get an answer of it: the next request must not find the model still away.
            self._changed_call()
            for seat, link in ways:
                seat.take(link)
            self._changed.notify_all()
        if leaving:
            process.kill("is not needed")
        logger.info("the process of model '%s' is there again", process.model)
        return True

    def _raise_if_outdated(self) -> None:
        """Raise OutdatedError if what was or would be started is not the model that was loaded."""
        if why := self._outdated():
            raise OutdatedError(why)

    def _note_failure(self, error: Exception) -> None:
        """A restart has come to nothing."""
        with self._changed:
            self.failed = True
            if isinstance(error, OutdatedError):
                # Why the process is gone is still to be told.
                self._refusal = str(error)
            else:
                self._failure, self._refusal = reason_of(error), ""
            self._changed.notify_all()


def _end_of(gone: ModelProcess) -> str:
    """How a process has ended. It is asked itself: it knows that no later than anybody can find that it is gone."""
    return f"the process of model '{gone.model}' {gone.cause}"
