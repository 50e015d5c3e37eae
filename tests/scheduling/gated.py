"""A model that the test holds back, request by request, and the targets that serve it."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig, Placement
from kserve_v2.caching.cache import Caching
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.chain import make_target
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Limits
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.queueing.levels import ONE_LEVEL, PriorityLevels
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.target import Target

CONFIG = """
    name: "gated" max_batch_size: 4
    input { name: "tag" data_type: TYPE_INT64 dims: [1] }
    output { name: "tag" data_type: TYPE_INT64 dims: [1] }
"""


@dataclass
class Gated:
    """Gives tags back. A tag that is held waits until it is let go; `began` tells that its execution has begun."""

    asynchronous: bool = False
    executions: list[list[int]] = field(default_factory=list)
    timeouts: list[int] = field(default_factory=list)
    gates: defaultdict[int, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    began: defaultdict[int, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    held: set[int] = field(default_factory=set)

    def instance(self, placement: Placement) -> "GatedInstance":
        return AsyncGatedInstance(self) if self.asynchronous else GatedInstance(self)

    def close(self) -> None:
        pass

    def hold(self, *tags: int) -> None:
        self.held.update(tags)

    def let_go(self, *tags: int) -> None:
        for tag in tags:
            self.gates[tag].set()

    async def running(self, tag: int) -> None:
        """Wait until the execution with this tag has begun."""
        await asyncio.get_running_loop().run_in_executor(None, self.began[tag].wait, 30)


class GatedInstance:
    def __init__(self, model: Gated) -> None:
        self.model = model

    def begin(self, tensors: Tensors, requests: Sequence[InferRequest]) -> list[int]:
        tags = [int(tag) for tag in tensors["tag"][:, 0]]
        self.model.executions.append(tags)
        self.model.timeouts += [request.timeout for request in requests]
        for tag in tags:
            self.model.began[tag].set()
        return tags

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        for tag in self.begin(tensors, requests):
            assert tag not in self.model.held or self.model.gates[tag].wait(60)
        if -1 in tensors["tag"]:
            raise ValueError("minus one")
        return {"tag": tensors["tag"]}

    def close(self) -> None:
        pass


class AsyncGatedInstance(GatedInstance):
    max_concurrency = 4

    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        for tag in self.begin(tensors, requests):
            while tag in self.model.held and not self.model.gates[tag].is_set():  # noqa: ASYNC110
                await asyncio.sleep(0)
        return {"tag": tensors["tag"]}


@dataclass
class Served:
    """A gated model that is loaded."""

    model: Gated
    target: Target
    queue: QueueTarget

    def ask(self, tag: int, rows: int = 1, **control: int) -> "asyncio.Task[InferResponse]":
        """Send one request, with its tag as its id."""
        request = InferRequest("gated", {"tag": np.full((rows, 1), tag)}, id=str(tag), control=dict(control))
        request.rows, request.batch_key = self.queue.spec.signature.check(request)
        request.checked = True
        return asyncio.create_task(infer(self.target, request))

    async def busy(self, *tags: int) -> "list[asyncio.Task[InferResponse]]":
        """Have an instance execute each of these tags, until they are let go."""
        self.model.hold(*tags)
        tasks = []
        for tag in tags:
            tasks.append(self.ask(tag))
            await self.model.running(tag)
        return tasks

    async def waiting(self, *tags: int) -> None:
        """Wait until these are queued, in this order."""
        while [int(each.request.id) for each in self.queue._queue._waiting] != list(tags):  # noqa: ASYNC110
            await asyncio.sleep(0)

    @property
    def executions(self) -> list[list[int]]:
        return self.model.executions


@asynccontextmanager
async def served(
    rules: BatchRules = ONE_AT_A_TIME,
    levels: PriorityLevels = ONE_LEVEL,
    instances: int = 1,
    *,
    asynchronous: bool = False,
    ordered: bool = False,
    limiter: RateLimiter | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    caching: Caching | None = None,
) -> AsyncIterator[Served]:
    """Load a model, and unload it when everybody has let go."""
    model = Gated(asynchronous)
    signature = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))
    spec = ModelSpec(
        signature,
        "1",
        tuple(Placement(f"gated_{n}", "CPU") for n in range(instances)),
        RowMerger(signature),
        rules,
        levels,
        ordered=ordered,
        limiter=limiter,
        limits=(limits,) * instances,
        caching=caching,
    )
    queue = QueueTarget(spec, model)
    target = make_target(spec, queue)
    await target.start()
    try:
        yield Served(model, target, queue)
    finally:
        model.let_go(*model.held)
        await target.drain()
        await target.stop()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop of its own; it fails if it takes very long."""
    asyncio.run(asyncio.wait_for(test(), 60))
