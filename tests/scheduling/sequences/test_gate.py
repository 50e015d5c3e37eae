"""The gate in front of real queues and instances: what is counted, held and given back, whoever leaves."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig, Placement
from kserve_v2.errors import (
    ExitingError,
    OverloadedError,
    RequestCancelledError,
    ServingError,
    UnavailableError,
)
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.chain import make_target
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Limits, Resource
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.sequences.gate import SequenceGate
from kserve_v2.scheduling.sequences.rules import sequence_rules, step_of
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from tests.scheduling.gated import CONFIG, Gated, run

STRATEGIES = ["direct {}", "oldest { max_candidate_sequences: 2 }"]
ROW_BYTES = 8


@dataclass
class Loaded:
    model: Gated
    gate: SequenceGate
    queue: QueueTarget
    inflight: InflightBytes

    def ask(self, tag: int, sequence: int, flags: str = "", **control: int) -> "asyncio.Task[InferResponse]":
        request = InferRequest("gated", {"tag": np.full((1, 1), tag)}, id=str(tag))
        request.control = {"sequence_id": sequence, **control}
        if "+" in flags:
            request.control["sequence_start"] = True
        if "." in flags:
            request.control["sequence_end"] = True
        request.rows, request.batch_key = self.queue.spec.signature.check(request)
        request.sequence, request.checked = step_of(request.control), True
        return asyncio.create_task(infer(self.gate, request))


@asynccontextmanager
async def loaded(
    strategy: str = "direct {}",
    *,
    instances: int = 1,
    idle_us: int = 60_000_000,
    limit: int = 2**40,
    limiter: RateLimiter | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> AsyncIterator[Loaded]:
    config = text_format.Parse(CONFIG, ModelConfig())
    text_format.Merge(f"sequence_batching {{ {strategy} max_sequence_idle_microseconds: {idle_us} }}", config)
    model, signature, inflight = Gated(), ModelSignature(config), InflightBytes(limit)
    placements = tuple(Placement(f"gated_{n}", "CPU") for n in range(instances))
    spec = ModelSpec(
        signature, "1", placements, RowMerger(signature), sequences=sequence_rules(config), inflight=inflight,
        limiter=limiter, limits=(limits,) * instances,
    )  # fmt: skip
    queue = QueueTarget(spec, model)
    gate = make_target(spec, queue)
    assert isinstance(gate, SequenceGate)
    await gate.start()
    try:
        yield Loaded(model, gate, queue, inflight)
    finally:
        model.let_go(*model.held)
        gate.abandon()
        await gate.drain()
        await gate.stop()
        assert inflight.used == 0
        assert gate.live == 0
        assert gate.depth == 0


async def outcomes(*tasks: "asyncio.Task[InferResponse]") -> list[type]:
    """What has become of requests: the type of the answer, or of the error."""
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(each) for each in found]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_waits_is_counted_among_the_bytes_in_flight(strategy: str) -> None:
    async def main() -> None:
        async with loaded(strategy, limit=3 * ROW_BYTES) as served:
            served.model.hold(1)
            tasks = [served.ask(1, 7, "+")]
            await served.model.running(1)
            tasks += [served.ask(2, 7), served.ask(3, 7, ".")]
            await asyncio.sleep(0)
            assert served.inflight.used == 3 * ROW_BYTES
            with pytest.raises(OverloadedError):
                await served.ask(4, 8, "+")
            # Nothing of it has begun.
            assert served.gate.live == 1
            served.model.let_go(1)
            assert await outcomes(*tasks) == [InferResponse] * 3
            assert served.inflight.used == 0

    run(main)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_time_before_the_turn_is_time_in_the_queue(strategy: str) -> None:
    async def main() -> None:
        async with loaded(strategy) as served:
            served.model.hold(1)
            first = served.ask(1, 7, "+")
            await served.model.running(1)
            second = served.ask(2, 7, ".")
            await asyncio.sleep(0)
            waits_since_ns = time.monotonic_ns()
            served.model.let_go(1)
            await first
            assert served.queue.spec.statistics.success_count >= 1
            began_ns = (await second).taken_ns
            statistics = served.queue.spec.statistics
            assert statistics.success_count == statistics.inference_count == 2
            assert statistics.queue_ns >= began_ns - waits_since_ns
            assert statistics.success_ns >= statistics.queue_ns + statistics.compute_infer_ns

    run(main)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_has_left_the_queue_when_its_instance_is_lost_says_so(strategy: str) -> None:
    """It may not have begun, and whoever has it executes it when the instance is back."""

    async def main() -> None:
        async with loaded(strategy) as served:
            served.model.hold(1)
            taken = served.ask(1, 7, "+")
            await served.model.running(1)
            waiting, other = served.ask(2, 7), served.ask(3, 8, "+")
            while served.gate.depth < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            live = served.gate._table.find(7)
            assert live is not None
            assert live.running is not None
            step = live.running.step
            served.gate.lose_instances([0], "it was killed")
            assert step.lost == "the sequence has ended: it was killed"
            for one in (waiting, other):
                with pytest.raises(UnavailableError, match="the sequence has ended: it was killed"):
                    await one
            served.model.let_go(1)
            await taken

    run(main)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_cancelled_execution_keeps_its_slot_until_it_ends(strategy: str) -> None:
    async def main() -> None:
        async with loaded(strategy) as served:
            served.model.hold(1)
            first = served.ask(1, 7, "+")
            await served.model.running(1)
            second = served.ask(2, 7)
            await asyncio.sleep(0)
            first.cancel()
            assert await outcomes(first, second) == [asyncio.CancelledError, RequestCancelledError]
            assert served.gate.live == 1
            served.model.let_go(1)
            await served.gate.drain()
            assert served.model.executions == [[1]]

    run(main)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_queued_and_cancelled_is_not_executed(strategy: str) -> None:
    async def main() -> None:
        async with loaded(strategy) as served:
            served.model.hold(1)
            first = served.ask(1, 7, "+")
            await served.model.running(1)
            other = served.ask(2, 8, "+")
            await asyncio.sleep(0)
            other.cancel()
            await outcomes(other)
            assert served.gate.live == 1
            served.model.let_go(1)
            await first
            assert served.model.executions == [[1]]
            assert served.queue.spec.statistics.fail.count == 1

    run(main)


def test_abandon_tells_those_that_wait() -> None:
    async def main() -> None:
        async with loaded("oldest { max_candidate_sequences: 1 }") as served:
            served.model.hold(1)
            first = served.ask(1, 7, "+")
            await served.model.running(1)
            others = [served.ask(2, 7), served.ask(3, 8, "+")]
            await asyncio.sleep(0)
            served.gate.abandon()
            assert await outcomes(*others) == [ExitingError, ExitingError]
            served.model.let_go(1)
            assert await outcomes(first) == [InferResponse]

    run(main)


def test_no_sequence_goes_on_without_its_instance() -> None:
    async def main() -> None:
        async with loaded(instances=2) as served:
            assert await outcomes(served.ask(1, 7, "+"), served.ask(2, 8, "+")) == [InferResponse] * 2
            # One of the two is lost: it held half of the sequences.
            served.queue._pool._instances[1].lost = True
            served.queue._interrupted()
            for task in (served.ask(3, 7), served.ask(4, 8), served.ask(5, 9, "+")):
                with pytest.raises(UnavailableError, match="load it again"):
                    await task

    run(main)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_instances_wait_for_their_resources(strategy: str) -> None:
    async def main() -> None:
        limits = Limits({Resource("r"): 1})
        async with loaded(strategy, instances=2, limiter=RateLimiter(), limits=limits) as served:
            served.model.hold(1)
            first = served.ask(1, 7, "+.")
            await served.model.running(1)
            second = served.ask(2, 8, "+.")
            gate = served.queue._queue.gate
            assert gate is not None
            while gate._next == [None, None]:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert served.model.executions == [[1]]
            served.model.let_go(1)
            assert await outcomes(first, second) == [InferResponse] * 2

    run(main)


def test_silence_ends_a_sequence_by_itself() -> None:
    async def main() -> None:
        async with loaded("oldest { max_candidate_sequences: 1 }", idle_us=20_000) as served:
            await served.ask(1, 7, "+")
            await served.ask(2, 8, "+.")
            await served.gate.drain()

    run(main)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_every_request_has_one_outcome_whoever_leaves(strategy: str, seed: int) -> None:
    async def main() -> None:
        chance = random.Random(seed)  # noqa: S311
        async with loaded(strategy, instances=2, idle_us=5_000) as served:
            tasks = []
            for tag in range(1, 300):
                flags = chance.choice(["+", "", "", ".", "+."])
                timeout = chance.choice([0, 0, 1000])
                # An execution now and then fails.
                tasks.append(
                    served.ask(
                        chance.choice([-1, tag, tag, tag]), chance.randint(1, 12), flags, timeout=timeout
                    )
                )
                if chance.random() < 0.1:
                    chance.choice(tasks).cancel()
                if chance.random() < 0.3:
                    await asyncio.sleep(0)
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(
                isinstance(each, InferResponse | ServingError | asyncio.CancelledError) for each in found
            )
            answered = [each for each in found if isinstance(each, InferResponse)]
            assert all(each.id == str(each.outputs["tag"].item()) for each in answered)
            await served.gate.drain()

    run(main)
