"""Warm-up: an instance executes samples on its own thread, before the version is ready.

They go through everything that a client's request goes through in an execution, and through nothing around that:
neither the queue nor the cache, the rate limiter or the statistics knows of them.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from kserve_v2.backend import (
    AnyInstance,
    AsyncInstance,
    AsyncStreamInstance,
    AsyncStreamsInstance,
    Placement,
    StreamedResponse,
)
from kserve_v2.errors import (
    InvalidArgumentError,
    ServingError,
    UnavailableError,
    as_serving_error,
    reason_of,
)
from kserve_v2.messages import InferRequest, SequenceStep, Tensors
from kserve_v2.scheduling.contained import contained
from kserve_v2.scheduling.executing.execution import BatchExecution
from kserve_v2.scheduling.executing.performing import stream, stream_async, streams_async
from kserve_v2.scheduling.executing.stream_execution import StreamExecution
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.merging.rows import Merger
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.replies import NOBODY
from kserve_v2.scheduling.sequences.rounds import RoundExecution
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason
from kserve_v2.scheduling.warm_up import Sample
from kserve_v2.tensors.datatypes import Array

logger = logging.getLogger(__name__)

# After this time no further execution of made-up inputs begins.
_MAX_AUTOMATIC_S = 60.0

RunsFirst = Callable[[Coroutine[Any, Any, None]], None]
"""Runs something to its end on the loop on which an instance executes from then on."""


class Where(Protocol):
    """The thread of an instance. `loop`: the server's."""

    spec: ModelSpec
    placement: Placement
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True)
class Progress:
    """How far all instances of a version are, which several threads add up. `automatic`: whether the samples are made
    up. `given_up`: nothing more is to be begun.
    """

    total: int = 0
    automatic: bool = False
    executions: int = 0
    sample: str = ""
    given_up: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def executed(self) -> None:
        """One more execution is over."""
        with self._lock:
            self.executions += 1


def executions_of(samples: Sequence[Sample], spec: ModelSpec) -> int:
    """How many executions the samples are, on each instance."""
    alone = one_at_a_time(spec)
    return sum(sample.count * (sample.requests if alone else 1) for sample in samples)


def warm_up(
    instance: AnyInstance,
    where: Where,
    samples: Sequence[Sample],
    progress: Progress,
    run_first: RunsFirst | None,
) -> None:
    """Have an instance execute samples. `run_first`: of an instance with an event loop of its own. Raises
    InvalidArgumentError, or UnavailableError if it is what executes that has failed; but not for made-up samples: their
    failure is a line in the log.
    """
    deadline = time.monotonic() + _MAX_AUTOMATIC_S
    for sample in samples:
        try:
            for _ in range(sample.count):
                if progress.given_up or (progress.automatic and time.monotonic() > deadline):
                    return
                progress.sample = sample.name
                for members in _batches(sample, where.spec):
                    contained(_execute, instance, members, sample, where, run_first)
                    progress.executed()
        except Exception as error:
            told = _failure(sample, error)
            if not progress.automatic:
                raise told from error
            logger.warning("model '%s': automatic warm-up: %s", where.spec.name, told.message)
            return


def _failure(sample: Sample, error: Exception) -> ServingError:
    known = as_serving_error(error)
    kind = UnavailableError if isinstance(known, UnavailableError) else InvalidArgumentError
    return kind(f"failed to run warmup sample '{sample.name}': {reason_of(error)}")


def _batches(sample: Sample, spec: ModelSpec) -> list[list[Pending]]:
    """The requests of one round, as they are executed."""
    members = [Pending(_request(sample, spec, number), NOBODY) for number in range(sample.requests)]
    return [[each] for each in members] if one_at_a_time(spec) else [members]


def one_at_a_time(spec: ModelSpec) -> bool:
    """Whether it is a decoupled model that answers one request at a time."""
    return spec.decoupled and not spec.merger.separate


def _request(sample: Sample, spec: ModelSpec, number: int) -> InferRequest:
    # Copies: a model may write to its inputs.
    inputs = {name: array.copy() for name, array in sample.inputs.items()}
    step = None
    if spec.sequences is not None:
        # A sequence of its own, which is over with it, so that nothing is kept of it.
        step = SequenceStep(spec.sequences.controls.number(number), start=True, end=True, slot=number)
    return InferRequest(spec.name, inputs, checked=True, rows=sample.rows, sequence=step)


def _execute(
    instance: AnyInstance, members: list[Pending], sample: Sample, where: Where, run_first: RunsFirst | None
) -> None:
    """One execution. Raises what the instance raises, and what its answers are wrong in."""
    spec = where.spec
    inner = spec.merger.uncounted() if isinstance(spec.merger, PaddedMerger) else spec.merger
    spec = replace(spec, merger=_SampleMerger(inner, sample, batches=bool(spec.signature.max_batch_size)))
    batch = Batch(members, BatchReason.NOT_BATCHABLE, time.monotonic_ns())
    if spec.decoupled:
        streams = _Stream.each(batch, spec, where.placement, where.loop)
        if isinstance(instance, AsyncStreamsInstance):
            _run(run_first, streams_async(instance, streams, lambda _: None))
        elif isinstance(instance, AsyncStreamInstance):
            _run(run_first, stream_async(instance, streams[0]))
        else:
            stream(instance, streams[0])  # type: ignore[arg-type]  # as its runner has found
        for each in streams:
            if each.raised is not None:
                raise each.raised
        return
    rounds = spec.sequences is not None and spec.sequences.iterative
    execution = (RoundExecution if rounds else BatchExecution)(batch, spec, where.placement)
    if isinstance(instance, AsyncInstance):
        _run(run_first, _execute_async(instance, execution))
    else:
        plain: Any = instance
        execution.finish([plain.execute(execution.inputs(), execution.requests)], fresh=True)
    for failure in execution.failures.values():
        raise failure


async def _execute_async(instance: AsyncInstance, execution: BatchExecution) -> None:
    answer = await instance.execute_async(execution.inputs(), execution.requests)
    execution.finish([answer], fresh=True)


def _run(run_first: RunsFirst | None, work: Coroutine[Any, Any, None]) -> None:
    assert run_first is not None  # noqa: S101 - an asynchronous instance has a loop of its own
    run_first(work)


class _Stream(StreamExecution):
    """A stream that nobody reads. An error among its responses is one of the sample."""

    raised: BaseException | None = None

    def checked(self, outputs: Tensors | StreamedResponse) -> Outputs:
        if isinstance(outputs, StreamedResponse) and outputs.error is not None:
            raise outputs.error
        return super().checked(outputs)

    def pass_on(self, outputs: Outputs) -> Future[bool]:
        taken: Future[bool] = Future()
        taken.set_result(True)
        return taken

    def fail(self, error: BaseException) -> None:
        self.raised = self.raised or error


class _SampleMerger:
    """A merger around a model's own, which adds the hidden inputs of a sample, in place of those that are made."""

    def __init__(self, inner: Merger, sample: Sample, *, batches: bool) -> None:
        self._inner = inner
        self._sample = sample
        self._batches = batches
        self.separate = inner.separate
        self.check = inner.check
        self.split = inner.split

    def merge(self, members: Sequence[Pending]) -> Any:
        """The inputs of one execution."""
        inputs: Any = self._inner.merge(members)
        hidden = self._sample.hidden
        if not hidden:
            return inputs
        if self.separate:
            return [{**each, **{name: array.copy() for name, array in hidden.items()}} for each in inputs]
        times = len(members) if self._batches else 1
        return {**inputs, **{name: _repeated(array, times) for name, array in hidden.items()}}


def _repeated(array: Array, times: int) -> Array:
    return np.concatenate([array] * times)


EVERY_S = 10.0
"""How often a long warm-up tells how far it is."""


async def tell_progress(name: str, version: str, progress: Progress) -> None:
    """Log how far a warm-up is, until this is cancelled."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(EVERY_S)
        logger.info(
            "warming up: %s version %s: %d of %d executions after %.0f s, the latest of sample '%s'",
            name, version, progress.executions, progress.total, time.monotonic() - began, progress.sample,
        )  # fmt: skip
