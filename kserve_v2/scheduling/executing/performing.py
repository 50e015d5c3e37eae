"""How each kind of instance performs an execution: one batch in, the executions with their outcomes out. None of this
raises.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from kserve_v2.backend import (
    AsyncInstance,
    AsyncStreamInstance,
    AsyncStreamsInstance,
    Instance,
    Placement,
    StreamInstance,
    has_fresh_outputs,
)
from kserve_v2.errors import InternalError
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import Tensors
from kserve_v2.scheduling.executing.execution import BatchExecution
from kserve_v2.scheduling.executing.stream_execution import StreamExecution
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.tracing.trace import computing

# Marks the end of the responses.
_END: Any = object()


def execute_batch(
    instance: Instance,
    batch: Batch,
    spec: ModelSpec,
    placement: Placement,
    kind: type[BatchExecution] = BatchExecution,
) -> Sequence[BatchExecution]:
    """Execute one batch: one execution with its outcome, or if it has failed, one for each member."""
    whole = kind(batch, spec, placement)
    _execute(instance, whole)
    if not whole.to_be_retried:
        return [whole]
    # One bad request must not fail the others of its batch: each is executed again on its own.
    singles = whole.alone()
    for single in singles:
        if not single.given_up:
            _execute(instance, single)
    return singles


def _execute(instance: Instance, execution: BatchExecution) -> None:
    try:
        fresh = has_fresh_outputs(instance)
        with computing(execution.traces, execution.taken_ns):
            execution.finish([instance.execute(execution.inputs(), execution.requests)], fresh=fresh)
    except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this batch's failure alone
        execution.fail(error)


async def execute_batch_async(
    instance: AsyncInstance,
    batch: Batch,
    spec: ModelSpec,
    placement: Placement,
    kind: type[BatchExecution] = BatchExecution,
) -> Sequence[BatchExecution]:
    """As `execute_batch`."""
    whole = kind(batch, spec, placement)
    await _execute_async(instance, whole)
    if not whole.to_be_retried:
        return [whole]
    singles = whole.alone()
    await asyncio.gather(*(_execute_async(instance, single) for single in singles if not single.given_up))
    return singles


async def _execute_async(instance: AsyncInstance, execution: BatchExecution) -> None:
    try:
        fresh = has_fresh_outputs(instance)
        with computing(execution.traces, execution.taken_ns):
            execution.finish(
                [await instance.execute_async(execution.inputs(), execution.requests)], fresh=fresh
            )
    except BaseException as error:  # noqa: BLE001 - as in `_execute`
        execution.fail(error)


def stream(instance: StreamInstance, execution: StreamExecution) -> None:
    """Answer one request as often as its model does."""
    try:
        with computing(execution.traces, execution.taken_ns):
            responses = instance.stream(execution.inputs(), execution.request)
            try:
                _pass_on(responses, execution, fresh=has_fresh_outputs(instance))
            finally:
                # Only generators have `close`.
                close = getattr(responses, "close", None)
                if close is not None:
                    close()
    except BaseException as error:  # noqa: BLE001 - as in `_execute`
        execution.fail(error)
    execution.closed()


def _pass_on(responses: Iterator[Any], execution: StreamExecution, *, fresh: bool) -> None:
    while not execution.request.cancelled:
        execution.begin_step()
        outputs = next(responses, _END)
        if outputs is _END:
            execution.finish()
            return
        answer = execution.checked(outputs)
        del outputs
        if not fresh:
            copy_shared(answer)
        if not execution.pass_on(answer).result():
            execution.stop(taken=False)
            return
    execution.stop()


async def stream_async(instance: AsyncStreamInstance, execution: StreamExecution) -> None:
    """As `stream`."""
    try:
        with computing(execution.traces, execution.taken_ns):
            responses = instance.stream_async(execution.inputs(), execution.request)
            await _pass_on_and_close(responses, execution, instance)
    except BaseException as error:  # noqa: BLE001 - as in `_execute`
        execution.fail(error)
    execution.closed()


async def streams_async(
    instance: AsyncStreamsInstance,
    executions: Sequence[StreamExecution],
    deliver: Callable[[Sequence[StreamExecution]], None],
) -> None:
    """Answer the requests of a batch, each as often as its model does, and deliver each when it is over."""
    begun, inputs, over = _inputs_of_each(executions)
    deliver(over)
    if not begun:
        return
    try:
        with computing([trace for each in begun for trace in each.traces], begun[0].taken_ns):
            streams = _one_each(instance.streams_async(inputs, [each.request for each in begun]), begun)
    except BaseException as error:  # noqa: BLE001 - as in `_execute`
        for execution in begun:
            execution.fail(error)
        deliver(begun)
        return
    del inputs

    async def answer(responses: AsyncIterator[Any], execution: StreamExecution) -> None:
        try:
            await _pass_on_and_close(responses, execution, instance)
        except BaseException as error:  # noqa: BLE001 - as in `_execute`
            execution.fail(error)
        execution.closed()
        deliver([execution])

    await asyncio.gather(*map(answer, streams, begun))


def _one_each(
    streams: Sequence[AsyncIterator[Any]], executions: Sequence[StreamExecution]
) -> Sequence[AsyncIterator[Any]]:
    if len(streams) != len(executions):
        raise InternalError(f"the instance began {len(streams)} streams for {len(executions)} requests")
    return streams


def _inputs_of_each(
    executions: Sequence[StreamExecution],
) -> tuple[list[StreamExecution], list[Tensors], list[StreamExecution]]:
    """The executions that can be begun, the inputs of each, and those that are over before."""
    begun: list[StreamExecution] = []
    inputs: list[Tensors] = []
    over: list[StreamExecution] = []
    for execution in executions:
        try:
            if not execution.request.cancelled:
                inputs.append(execution.inputs())
                begun.append(execution)
                continue
            execution.stop()
        except BaseException as error:  # noqa: BLE001 - as in `_execute`
            execution.fail(error)
        execution.closed()
        over.append(execution)
    return begun, inputs, over


async def _pass_on_and_close(
    responses: AsyncIterator[Any], execution: StreamExecution, instance: object
) -> None:
    try:
        await _pass_on_async(responses, execution, fresh=has_fresh_outputs(instance))
    finally:
        # Only async generators have `aclose`.
        close = getattr(responses, "aclose", None)
        if close is not None:
            await close()


async def _pass_on_async(responses: AsyncIterator[Any], execution: StreamExecution, *, fresh: bool) -> None:
    while not execution.request.cancelled:
        execution.begin_step()
        outputs = await anext(responses, _END)
        if outputs is _END:
            execution.finish()
            return
        answer = execution.checked(outputs)
        del outputs
        if not fresh:
            copy_shared(answer)
        if not await asyncio.wrap_future(execution.pass_on(answer)):
            execution.stop(taken=False)
            return
    execution.stop()
