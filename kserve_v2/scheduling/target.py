"""The seams of scheduling: what can be asked, where its answers go, and how to stop waiting for them.

A loaded model is asked through one `Target`: its queue, a sequence batcher, an ensemble, or a cache in front of one of
these. Targets stand around targets, as a chain that is made once, when the model is loaded. All of this lives on the
server's event loop.
"""

import asyncio
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.messages import InferRequest, InferResponse


class Reply(Protocol):
    """Where the answers to one request go: any number of responses, and then the end. Called on the event loop's
    thread, never before `Target.submit` has returned. Neither method raises.
    """

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        """Take the next response. None: the model may go on at once. A future holds it back: done with True when there
        is room for the next response, with False when nobody will take another.
        """
        ...

    def end(self, error: ServingError | None = None) -> None:
        """There are no more responses, because of `error` if there is one. Called exactly once, unless the ticket was
        given up: then never.
        """
        ...


class Ticket(Protocol):
    """A request that is under way."""

    def give_up(self) -> None:
        """Nobody waits for the answers any more: the reply is not called again, what has not begun is not executed, and
        a model that is at work is told. May be called at any time, also when the request has ended.
        """
        ...


class Target(Protocol):
    """What can be asked."""

    async def start(self) -> None:
        """Make what is needed to answer, such as instances. Raises what that raises, after all is closed again."""
        ...

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Have a checked request answered. If it is returned, the response is the only one, and `reply` is not called;
        else `reply` gets all of the outcome, later.

        Raises the ServingError of a request that is refused, or has failed, at once: then `reply` is not called.
        """
        ...

    @property
    def depth(self) -> int:
        """How many requests wait for their execution."""
        ...

    async def drain(self) -> None:
        """Wait until nothing is under way: no request, and nothing else that needs this model, such as a sequence."""
        ...

    def abandon(self, why: str = "") -> None:
        """The time to wait is up: end whatever has not begun with an error. `why`: if the server goes on all the same;
        then streams that have begun end with it as well.
        """
        ...

    async def stop(self) -> None:
        """Take no more requests, finish those that are there, and close all that `start` has made."""
        ...
