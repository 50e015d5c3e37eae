"""How each kind of instance performs an execution: one batch in, the executions with their outcomes out. None of this
raises.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from kserve_v2.backend import (
    AsyncInstance,
    AsyncStreamInstance,
    Instance,
    Placement,
    StreamInstance,
    has_fresh_outputs,
)
from kserve_v2.memory.own import copy_shared
from kserve_v2.scheduling.executing.execution import BatchExecution, StreamExecution
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
            try:
                await _pass_on_async(responses, execution, fresh=has_fresh_outputs(instance))
            finally:
                # Only async generators have `aclose`.
                close = getattr(responses, "aclose", None)
                if close is not None:
                    await close()
    except BaseException as error:  # noqa: BLE001 - as in `_execute`
        execution.fail(error)
    execution.closed()


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
