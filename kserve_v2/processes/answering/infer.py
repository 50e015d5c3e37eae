"""`infer` requests that workers have read: the home's fast lane answers them, whole."""

from collections.abc import Sequence

import httptools
from starlette.types import ASGIApp

from kserve_v2.errors import ServingError
from kserve_v2.net.answer_text import Parts, any_answer
from kserve_v2.processes.answering.http import Begin, WholeCall
from kserve_v2.processes.frames import Payload
from kserve_v2.processes.heads import make_scope, split
from kserve_v2.processes.link import Link, Party
from kserve_v2.rest.fast_call import FastCall
from kserve_v2.rest.fast_lane import FastLane, fail
from kserve_v2.rest.heads import InferHead
from kserve_v2.rest.infer import Asked
from kserve_v2.scheduling.slices import LARGE_BYTES


class InferAnswering:
    """Answers them for one server."""

    def __init__(self, app: ASGIApp, lane: FastLane, begin: Begin) -> None:
        """`app`: answers those that the lane does not take. `begin`: makes a task."""
        self._app = app
        self._lane = lane
        self._begin = begin

    def open(self, link: Link, number: int, payload: Payload) -> None:
        """Take a request; see `link.Opener`."""
        lane = self._lane
        lines, body = split(payload)
        head = lane.heads.read(lines)
        if head is None:
            # Workers forward what they have read in the very same way.
            link.answer(number, fail(ValueError("a head cannot be read")))
            return
        if not lane.takes(head):
            self._ask_app(link, number, head, body)
            return
        call = _Call(link, number)
        found = None if lane.log_access or len(body) >= LARGE_BYTES else lane.infer(head, body)
        if found is not None and not isinstance(found, Asked):
            link.answer(number, found)
            return
        call.fast = FastCall(lane, call.send, head)
        if found is None:
            # It counts as in flight while it waits for its turns: the link has counted it while it came.
            call.fast.add_body(body)
            call.fast.start()
        else:
            call.fast.wait(found)
        if not call.fast.response_complete:
            link.join(number, call)

    def _ask_app(self, link: Link, number: int, head: InferHead, body: Payload) -> None:
        url = httptools.parse_url(head.target)

        def answer(status: int, headers: Sequence[tuple[bytes, bytes]], parts: Parts) -> None:
            link.answer(number, any_answer(status, headers, parts))

        def refuse(error: ServingError) -> None:
            link.answer(number, fail(error))

        scope = make_scope("POST", url.path, url.query or b"", head.all_headers)
        call = WholeCall(self._app, scope, body, answer, refuse)
        link.join(number, call)
        call.begin(self._begin)


class _Call(Party):
    """A request that is under way."""

    __slots__ = ("_link", "_number", "fast")

    fast: FastCall

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    def send(self, call: FastCall, parts: Parts) -> None:
        """The answer is there."""
        self._link.answer(self._number, parts)

    def cancelled(self, reason: Payload) -> None:
        self.fast.give_up()

    def abandon(self) -> None:
        self.fast.abandon()
