"""The fast lane of a worker: `infer` requests of models that have no route here go to the home, whole."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from kserve_v2.errors import NotHereError, ServingError
from kserve_v2.logs.log import Access, access_log_enabled
from kserve_v2.memory.inflight import InflightBytes, Share
from kserve_v2.messages import InferResponse
from kserve_v2.net.answer_text import Parts
from kserve_v2.net.together import Together
from kserve_v2.processes.accepted import Accepted, Counted
from kserve_v2.processes.frames import Payload
from kserve_v2.processes.heads import sized
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link, Party
from kserve_v2.rest.fast_lane import Lane, Sliced, fail
from kserve_v2.rest.heads import Body, InferHead, InferHeads
from kserve_v2.rest.infer import Asked
from kserve_v2.scheduling.slices import Slices


class LocalLane(Lane, Protocol):
    """Answers requests of models that this process has."""

    def has_route(self, head: InferHead) -> bool:
        """Whether it has a route for the model now. If so, the request is its, unless `infer` raises NotHereError."""
        ...


class ForwardingLane:
    """A `fast_lane.Lane`."""

    def __init__(
        self,
        link: Link,
        max_request_bytes: int,
        inflight: InflightBytes,
        accepted: Accepted,
        local: LocalLane | None = None,
    ) -> None:
        """`max_request_bytes` and `inflight` as the home has them. `accepted`: where what goes to the home is counted.
        `local`: answers what it can.
        """
        self.heads = InferHeads(max_request_bytes)
        self.inflight = inflight
        self.together = Together()
        self.log_access = access_log_enabled()
        self._link = link
        self._accepted = accepted
        self._local = local

    def takes(self, head: InferHead) -> bool:
        """All: the home has requests traced. What it does not hand out a route for is not traced here."""
        return True

    def prepare(
        self, head: InferHead, body: Body, share: Share, *, access: Access | None = None
    ) -> Sliced | None:
        """See `Lane`. The home does this itself."""
        local = self._local
        if local is None or not local.has_route(head):
            return None
        sliced = local.prepare(head, body, share, access=access)
        if sliced is not None:
            forward = partial(self._forward, head, body, access, accepted=self._accepted.open)
            sliced.slices = _here_or(sliced.slices, forward)
        return sliced

    def infer(self, head: InferHead, body: Body, *, access: Access | None = None) -> Parts | Asked:
        """The answer to a request, or the request that is under way."""
        local = self._local
        if local is not None and local.has_route(head):
            try:
                return local.infer(head, body, access=access)
            except NotHereError:
                # It names what only the home has.
                pass
        return self._forward(head, body, access, accepted=self._accepted.open)

    def _forward(
        self, head: InferHead, body: Body, access: Access | None, *, accepted: bool
    ) -> Parts | Asked:
        """`accepted`: whether it was there in time."""
        counted = self._accepted.take(accepted)
        try:
            return _Forwarded(self._link, head, body, access, counted)
        except ServingError as error:
            counted.end()
            return fail(error, access)

    def succeed(self, response: InferResponse, asked: Asked, *, access: Access | None) -> Parts | Sliced:
        """See `Lane`."""
        if isinstance(asked, _Forwarded):
            return (asked.text,)
        assert self._local is not None  # noqa: S101 - nobody else has asked
        return self._local.succeed(response, asked, access=access)


def _here_or(slices: Slices[Parts | Asked], forward: Callable[[], Parts | Asked]) -> Slices[Parts | Asked]:
    """Those of a request that is answered here, unless it names what only the home has."""
    try:
        return (yield from slices)
    except NotHereError:
        return forward()


class _Forwarded(Asked, Party):
    """A request that the home has. It comes back as text."""

    __slots__ = ("_access", "_counted", "_link", "_number", "text")

    text: Payload
    """The answer. The home does not know whether the connection is to go on."""

    def __init__(
        self, link: Link, head: InferHead, body: Body, access: Access | None, counted: Counted
    ) -> None:
        """Ask. Raises as `Link.ask`."""
        self._link = link
        self._access = access
        prefix = sized(head.lines)
        # What stands before the tensors, if the head says how long the JSON is.
        aligned_at = len(prefix) + head.json_bytes
        kind = Kind.REST_INFER_ACCEPTED if counted.accepted else Kind.REST_INFER
        self._number = link.ask(kind, (prefix, body), self, aligned_at)
        self._counted = counted
        if access is not None:
            # The home has its line, however it ends.
            access.elsewhere = True

    def answered(self, payload: Payload) -> None:
        self._counted.end()
        self.text = payload
        # `take` comes back to `succeed`.
        self.take(payload)  # type: ignore[arg-type]

    def failed(self, error: ServingError) -> None:
        self._counted.end()
        if self._access is not None:
            self._access.elsewhere = False
        self.take(error)

    def give_up(self) -> None:
        self._counted.end()
        self._link.cancel(self._number)
