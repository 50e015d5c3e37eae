"""Which runner drives which kind of instance."""

from collections.abc import Sequence
from functools import partial

from kserve_v2.backend import (
    AnyInstance,
    AsyncInstance,
    AsyncStreamInstance,
    AsyncStreamsInstance,
    Instance,
    PostingInstance,
    StreamInstance,
)
from kserve_v2.errors import InternalError
from kserve_v2.scheduling.executing.execution import BatchExecution, Execution
from kserve_v2.scheduling.executing.performing import (
    execute_batch,
    execute_batch_async,
    stream,
    stream_async,
    streams_async,
)
from kserve_v2.scheduling.executing.post_runner import PostRunner
from kserve_v2.scheduling.executing.runners import (
    LoopRunner,
    Perform,
    PerformAsync,
    Runner,
    Surroundings,
    ThreadRunner,
)
from kserve_v2.scheduling.executing.stream_execution import StreamExecution
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.sequences.rounds import RoundExecution


def runner(instance: AnyInstance, thread: Surroundings) -> Runner:
    """The way to drive `instance`. Raises InternalError for one that cannot be driven."""
    spec, placement = thread.spec, thread.placement
    if spec.decoupled and spec.merger.separate:
        if isinstance(instance, AsyncStreamsInstance):
            return LoopRunner(_streamed_together(instance, thread), instance, thread)
    elif spec.decoupled:
        if isinstance(instance, AsyncStreamInstance):
            return LoopRunner(_streamed_async(instance, thread), instance, thread)
        if isinstance(instance, StreamInstance):
            return ThreadRunner(_streamed(instance, thread), instance, thread)
    else:
        rounds = spec.sequences is not None and spec.sequences.iterative
        kind: type[BatchExecution] = RoundExecution if rounds else BatchExecution
        if isinstance(instance, AsyncInstance):
            perform = partial(execute_batch_async, instance, spec=spec, placement=placement, kind=kind)
            return LoopRunner(perform, instance, thread)
        if isinstance(instance, Instance):
            work = partial(execute_batch, instance, spec=spec, placement=placement, kind=kind)
            if spec.posts and isinstance(instance, PostingInstance):
                return PostRunner(instance, work, thread)
            return ThreadRunner(work, instance, thread)
    if spec.decoupled and spec.merger.separate:
        needs = "decoupled model that separates requests, which needs 'streams_async' and 'max_concurrency'"
    else:
        needs = "decoupled model, which needs 'stream'" if spec.decoupled else "model, which needs 'execute'"
        needs += ", or that with '_async' and 'max_concurrency'"
    raise InternalError(
        f"the backend made an instance of type {type(instance).__name__} for a {needs}, and 'close'"
    )


def _streamed(instance: StreamInstance, thread: Surroundings) -> Perform:
    def perform(batch: Batch) -> Sequence[Execution]:
        execution = StreamExecution(batch, thread.spec, thread.placement, thread.loop)
        stream(instance, execution)
        return [execution]

    return perform


def _streamed_together(instance: AsyncStreamsInstance, thread: Surroundings) -> PerformAsync:
    async def perform(batch: Batch) -> Sequence[Execution]:
        executions = StreamExecution.each(batch, thread.spec, thread.placement, thread.loop)
        # One that is over does not wait for the others.
        await streams_async(instance, executions, thread.deliver)
        return ()

    return perform


def _streamed_async(instance: AsyncStreamInstance, thread: Surroundings) -> PerformAsync:
    async def perform(batch: Batch) -> Sequence[Execution]:
        execution = StreamExecution(batch, thread.spec, thread.placement, thread.loop)
        await stream_async(instance, execution)
        return [execution]

    return perform
