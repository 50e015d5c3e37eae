"""Counters and durations of one model version: the one source of the statistics endpoint and of /metrics.

Plain integers, written and read on the server's event loop alone, so there is no lock. Names and meaning are
those of Triton's statistics extension; durations are in nanoseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


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
class BatchStatistics:
    """Executions of one batch size."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class ResponseStatistics:
    """The responses of one position in their streams: the first ones, the second ones, and so on."""

    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    success: Duration = field(default_factory=Duration)
    empty_response: Duration = field(default_factory=Duration)


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """How long one response of a stream took, in nanoseconds; `empty` if it had no outputs."""

    infer_ns: int
    output_ns: int
    empty: bool


@dataclass(frozen=True, slots=True)
class ExecutionTimes:
    """When one batch reached each stage, in nanoseconds of the monotonic clock."""

    taken_ns: int
    input_end_ns: int
    infer_end_ns: int
    output_end_ns: int


@dataclass(slots=True)
class ModelStatistics:
    """Statistics of one model version since it was loaded."""

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)
    responses: dict[int, ResponseStatistics] = field(default_factory=dict)
    batch_reasons: dict[BatchReason, int] = field(default_factory=lambda: dict.fromkeys(BatchReason, 0))
    failures: dict[FailureReason, int] = field(default_factory=lambda: dict.fromkeys(FailureReason, 0))

    def record_success(
        self, rows: int, enqueued_ns: Sequence[int], times: ExecutionTimes, reason: BatchReason, now_ms: int
    ) -> None:
        """Count one execution of `rows` rows whose requests were enqueued at `enqueued_ns`, one entry a
        request.

        Every request of a batch is charged with the batch's whole compute time, as Triton does; a batch size
        is charged once.
        """
        requests = len(enqueued_ns)
        waited_from_ns = sum(enqueued_ns)
        input_ns = times.input_end_ns - times.taken_ns
        infer_ns = times.infer_end_ns - times.input_end_ns
        output_ns = times.output_end_ns - times.infer_end_ns
        self.last_inference_ms = now_ms
        self.inference_count += rows
        self.execution_count += 1
        self.batch_reasons[reason] += 1
        self.success.add(requests, requests * times.output_end_ns - waited_from_ns)
        self.queue.add(requests, requests * times.taken_ns - waited_from_ns)
        self.compute_input.add(requests, requests * input_ns)
        self.compute_infer.add(requests, requests * infer_ns)
        self.compute_output.add(requests, requests * output_ns)
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.compute_input.add(1, input_ns)
        batch.compute_infer.add(1, infer_ns)
        batch.compute_output.add(1, output_ns)

    def record_response(self, index: int, times: ResponseTimes) -> None:
        """Count the response at position `index` of a stream."""
        statistics = self.responses.get(index)
        if statistics is None:
            statistics = self.responses[index] = ResponseStatistics()
        total_ns = times.infer_ns + times.output_ns
        statistics.compute_infer.add(1, times.infer_ns)
        statistics.compute_output.add(1, times.output_ns)
        (statistics.empty_response if times.empty else statistics.success).add(1, total_ns)

    def record_failure(self, reason: FailureReason, duration_ns: int) -> None:
        """Count one request that ended without an answer `duration_ns` after it was enqueued."""
        self.fail.add(1, duration_ns)
        self.failures[reason] += 1
