"""All that the home answers for its workers."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from kserve_v2.acceptance import GIVEN, Carrying
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.processes.answering.http import HttpCall
from kserve_v2.processes.answering.infer import InferAnswering
from kserve_v2.processes.answering.rpcs import RpcAnswering
from kserve_v2.processes.calls import table
from kserve_v2.processes.frames import Payload
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link, Opener
from kserve_v2.rest.fast_lane import FastLane
from kserve_v2.rpc.calls import Rpc


class Answering:
    """Answers requests from the links to all workers. Whoever closes a link has those given up that came by it."""

    def __init__(
        self, app: ASGIApp | None, lane: FastLane | None, rpcs: Sequence[Rpc], inflight: InflightBytes
    ) -> None:
        """What the home's own servers answer with: `app`, None where HTTP is not served, the `lane` before it if there
        is one, and `rpcs`, none where gRPC is not served.
        """
        self._app = app
        self._infer = InferAnswering(app, lane, self._begin) if app is not None and lane is not None else None
        self._rpcs = RpcAnswering(rpcs, inflight, self._begin)
        self._table = table(rpcs)
        # The event loop holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, link: Link) -> None:
        """Answer what comes by a link. To be called before it is opened."""
        if self._app is not None:
            link.on_ask(Kind.HTTP, partial(self._open_http, self._app, link))
        link.on(Kind.RPC_TABLE, lambda _: self._table)
        link.on_ask(Kind.RPC, partial(self._rpcs.open, link))
        link.on_ask(Kind.RPC_ACCEPTED, _accepted(partial(self._rpcs.open, link)))
        link.on_ask(Kind.RPC_STREAM, partial(self._rpcs.open_stream, link))
        if self._infer is not None:
            link.on_ask(Kind.REST_INFER, partial(self._infer.open, link))
            link.on_ask(Kind.REST_INFER_ACCEPTED, _accepted(partial(self._infer.open, link)))

    def _open_http(self, app: ASGIApp, link: Link, number: int, payload: Payload) -> None:
        call = HttpCall(link, number, app, payload)
        link.join(number, call)
        call.begin(self._begin)

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _accepted(opener: Opener) -> Opener:
    """Takes requests that are answered although the server may have been told to end since."""

    def open_accepted(number: int, payload: Payload) -> None:
        with Carrying(GIVEN):
            opener(number, payload)

    return open_accepted
