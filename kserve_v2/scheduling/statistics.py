"""Counters and durations of one model version: the one source of the statistics endpoint and of /metrics.

Plain integers, written and read on the server's event loop alone, so there is no lock. Names and meaning are
those of Triton's statistics extension; durations are in nanoseconds.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from threading import Lock
from typing import ClassVar, NamedTuple

MAX_RESPONSE_POSITIONS = 1024
"""How many positions of streams are counted apart: a stream may have any number of responses, memory has not."""


class FailureReason(StrEnum):
    """Why a request got no answer from the model; the `reason` label of `nv_inference_request_failure`."""

    OTHER = "OTHER"
    BACKEND = "BACKEND"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"


class BatchReason(StrEnum):
    """Why a batch was executed when it was, with the rows that it had."""

    FULL = "full"
    PREFERRED = "preferred"
    DELAY_EXPIRED = "delay_expired"
    NO_DELAY = "no_delay"
    SHAPE_MISMATCH = "shape_mismatch"
    NOT_BATCHABLE = "not_batchable"


@dataclass(slots=True)
class Duration:
    """How often something happened and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, count: int, ns: int) -> None:
        """Count `count` more events that took `ns` together."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class WaitingTimes:
    """How long requests have waited for their execution: `counts[n]` of them up to `BOUNDS_US[n]` microseconds, and
    longer than the bound before; the last count is of those beyond all bounds.
    """

    BOUNDS_US: ClassVar[tuple[int, ...]] = (
        *(unit * step for unit in (100, 1000, 10_000, 100_000, 1_000_000) for step in (1, 2, 5)),
        10_000_000,
    )

    counts: list[int] = field(default_factory=lambda: [0] * (len(WaitingTimes.BOUNDS_US) + 1))
    ns: int = 0

    def add(self, waited_ns: int) -> None:
        """Count one request."""
        self.counts[bisect_left(self.BOUNDS_US, waited_ns / 1000)] += 1
        self.ns += waited_ns

    def up_to(self) -> list[int]:
        """How many have waited up to each bound, and at the end, how many there are."""
        return list(accumulate(self.counts))


@dataclass(slots=True)
class BatchStatistics:
    """Executions of one batch size, how long they took in all, and why they ran when they did."""

    count: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    compute_output_ns: int = 0
    reasons: dict[BatchReason, int] = field(default_factory=lambda: dict.fromkeys(BatchReason, 0))

    @property
    def busy_ns(self) -> int:
        """How long instances were busy with them."""
        return self.compute_input_ns + self.compute_infer_ns + self.compute_output_ns

    def durations(self) -> dict[str, Duration]:
        """The durations by name, in the order of the statistics extension."""
        return {
            "compute_input": Duration(self.count, self.compute_input_ns),
            "compute_infer": Duration(self.count, self.compute_infer_ns),
            "compute_output": Duration(self.count, self.compute_output_ns),
        }


@dataclass(slots=True)
class ResponseStatistics:
    """The responses of one position in their streams: the first ones, the second ones, and so on."""

    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    empty_response: Duration = field(default_factory=Duration)
    cancel: Duration = field(default_factory=Duration)

    def durations(self) -> dict[str, Duration]:
        """The durations by name, in the order of the statistics extension."""
        return {
            "compute_infer": self.compute_infer,
            "compute_output": self.compute_output,
            "success": self.success,
            "fail": self.fail,
            "empty_response": self.empty_response,
            "cancel": self.cancel,
        }


class ResponseFate(StrEnum):
    """What became of one response of a stream: it had outputs, it had none, it was an error, or the client left before
    it.
    """

    SUCCESS = "success"
    EMPTY = "empty_response"
    FAIL = "fail"
    CANCEL = "cancel"


class ResponseTimes(NamedTuple):
    """How long one response of a stream took, in nanoseconds, and what became of it. For one that was cancelled
    `infer_ns` is the time until the model had stopped.
    """

    infer_ns: int
    output_ns: int
    fate: ResponseFate


class ExecutionTimes(NamedTuple):
    """When one batch reached each stage, in nanoseconds of the monotonic clock."""

    taken_ns: int
    input_end_ns: int
    infer_end_ns: int
    output_end_ns: int


class ComputeTimes(NamedTuple):
    """How long each stage of an execution took, in nanoseconds, or of several together."""

    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0

    def and_of(self, times: ExecutionTimes) -> "ComputeTimes":
        """Together with one more execution."""
        return ComputeTimes(
            self.input_ns + times.input_end_ns - times.taken_ns,
            self.infer_ns + times.infer_end_ns - times.input_end_ns,
            self.output_ns + times.output_end_ns - times.infer_end_ns,
        )


class PaddedElements:
    """Elements of padded inputs: all that models were given, and those that were padding. Unlike everything else here
    it is written by the instances' threads, so there is a lock.
    """

    def __init__(self) -> None:
        self.given = self.padding = 0
        self._lock = Lock()

    def add(self, given: int, padding: int) -> None:
        """Count those of one batch."""
        with self._lock:
            self.given += given
            self.padding += padding


@dataclass(slots=True)
class ModelStatistics:
    """Statistics of one model version since it was loaded."""

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success_count: int = 0
    success_ns: int = 0
    queue_ns: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    compute_output_ns: int = 0
    fail: Duration = field(default_factory=Duration)
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    # Of a model whose inputs are padded.
    padded: PaddedElements | None = None
    # How long batches may wait at present, where the server chooses that.
    chosen_delay_ns: int = 0
    batches: dict[int, BatchStatistics] = field(default_factory=dict)
    responses: dict[int, ResponseStatistics] = field(default_factory=dict)
    waited: WaitingTimes = field(default_factory=WaitingTimes)
    failures: dict[FailureReason, int] = field(default_factory=lambda: dict.fromkeys(FailureReason, 0))
    latencies: deque[int] | None = None
    """While somebody watches: how long each answered request took from its arrival to its result, in nanoseconds."""

    @property
    def activity(self) -> int:
        """Grows with whatever becomes of requests."""
        return self.success_count + self.execution_count + self.fail.count + sum(self.failures.values())

    @property
    def batch_reasons(self) -> dict[BatchReason, int]:
        """How many batches ran for each of the reasons."""
        return {
            reason: sum(batch.reasons[reason] for batch in self.batches.values()) for reason in BatchReason
        }

    @property
    def busy_ns(self) -> int:
        """How long instances were busy with all batches that are counted."""
        return sum(batch.busy_ns for batch in self.batches.values())

    def durations(self) -> dict[str, Duration]:
        """The durations of the statistics extension by name, in its order."""
        count = self.success_count
        computed = count - self.cache_hit.count
        return {
            "success": Duration(count, self.success_ns),
            "fail": self.fail,
            "queue": Duration(count, self.queue_ns),
            "compute_input": Duration(computed, self.compute_input_ns),
            "compute_infer": Duration(computed, self.compute_infer_ns),
            "compute_output": Duration(computed, self.compute_output_ns),
            "cache_hit": self.cache_hit,
            "cache_miss": self.cache_miss,
        }

    def record_success(
        self,
        rows: int,
        requests: int,
        enqueued_ns: int,
        times: tuple[int, int, int, int],
        reason: BatchReason,
        now_ms: int,
        null_rows: int = 0,
    ) -> None:
        """Count one execution of `rows` rows. `enqueued_ns`: the sum of the times when its requests were enqueued;
        `times`: as in `ExecutionTimes`.

        Every request of a batch is charged with the batch's whole compute time, as Triton does; a batch size
        is charged once.
        """
        taken_ns, input_end_ns, infer_end_ns, output_end_ns = times
        input_ns = input_end_ns - taken_ns
        infer_ns = infer_end_ns - input_end_ns
        output_ns = output_end_ns - infer_end_ns
        self.last_inference_ms = now_ms
        self.inference_count += rows - null_rows
        self.execution_count += 1
        # Every request that was answered was also queued and computed, so all counts are the same.
        self.success_count += requests
        self.success_ns += requests * output_end_ns - enqueued_ns
        self.queue_ns += requests * taken_ns - enqueued_ns
        self.compute_input_ns += requests * input_ns
        self.compute_infer_ns += requests * infer_ns
        self.compute_output_ns += requests * output_ns
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.count += 1
        batch.compute_input_ns += input_ns
        batch.compute_infer_ns += infer_ns
        batch.compute_output_ns += output_ns
        batch.reasons[reason] += 1

    def record_earlier_wait(self, waited_ns: int) -> None:
        """One of the requests that `record_success` counts had waited so long before it was enqueued."""
        self.success_ns += waited_ns
        self.queue_ns += waited_ns

    def record_joined(self, enqueued_ns: int, taken_ns: int, end_ns: int, compute: ComputeTimes) -> None:
        """Count one request that was executed in parts, each of which `record_success` has counted with no request.
        `taken_ns` and `end_ns`: when the first part began and the last one ended; `compute`: of all parts together.
        """
        self.waited.add(taken_ns - enqueued_ns)
        self._watch(end_ns - enqueued_ns)
        self.success_count += 1
        self.success_ns += end_ns - enqueued_ns
        self.queue_ns += taken_ns - enqueued_ns
        self.compute_input_ns += compute.input_ns
        self.compute_infer_ns += compute.infer_ns
        self.compute_output_ns += compute.output_ns

    def record_composed(
        self, rows: int, began_ns: int, end_ns: int, queue_ns: int, compute_ns: int, now_ms: int
    ) -> None:
        """Count one request that was answered by other models. `queue_ns` and `compute_ns`: how long it has waited for
        each of them, and they have computed, in all.
        """
        self._watch(end_ns - began_ns)
        self.last_inference_ms = now_ms
        self.inference_count += rows
        self.execution_count += 1
        self.success_count += 1
        self.success_ns += end_ns - began_ns
        self.queue_ns += queue_ns
        self.compute_infer_ns += compute_ns

    def record_cached(self, duration_ns: int, lookup_ns: int) -> None:
        """Count one request that was answered by the response cache, or together with an equal one, `duration_ns` after
        it came: it was not executed. `lookup_ns`: how long it took to find that out.
        """
        self._watch(duration_ns)
        self.success_count += 1
        self.success_ns += duration_ns
        self.queue_ns += duration_ns - lookup_ns
        self.cache_hit.add(1, lookup_ns)

    def record_cache_miss(self, lookup_ns: int) -> None:
        """Count one request for which the response cache has no answer yet."""
        self.cache_miss.add(1, lookup_ns)

    def record_waits(self, taken_ns: int, enqueued_ns: Iterable[int]) -> None:
        """Count how long the requests of one execution, which `record_success` has counted, had to wait for it."""
        for each_ns in enqueued_ns:
            self.waited.add(taken_ns - each_ns)

    def record_answers(self, end_ns: int, enqueued_ns: Iterable[int]) -> None:
        """Note how long those requests took that an execution has answered, while somebody watches."""
        if self.latencies is not None:
            self.latencies.extend([end_ns - each_ns for each_ns in enqueued_ns])

    def _watch(self, duration_ns: int) -> None:
        if self.latencies is not None:
            self.latencies.append(duration_ns)

    def record_response(self, index: int, times: ResponseTimes) -> None:
        """Count the response at position `index` of a stream; from `MAX_RESPONSE_POSITIONS` on, those count as one."""
        index = min(index, MAX_RESPONSE_POSITIONS - 1)
        statistics = self.responses.get(index)
        if statistics is None:
            statistics = self.responses[index] = ResponseStatistics()
        statistics.durations()[times.fate].add(1, times.infer_ns + times.output_ns)
        if times.fate is not ResponseFate.CANCEL:
            statistics.compute_infer.add(1, times.infer_ns)
            statistics.compute_output.add(1, times.output_ns)

    def record_failure(self, reason: FailureReason, duration_ns: int) -> None:
        """Count one request that ended without an answer `duration_ns` after it was enqueued."""
        self.fail.add(1, duration_ns)
        self.failures[reason] += 1
