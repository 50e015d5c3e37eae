"""What is recorded of one request while it is answered."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import count
from operator import itemgetter
from typing import Protocol

from kserve_v2.tensors.datatypes import Array


class Spans(Protocol):
    """The OpenTelemetry spans of one request; without OpenTelemetry there are none."""

    def begin_request(self, start_ns: int, model_version: str, request_id: str) -> None:
        """The request is known: from now on its model works on it."""
        ...

    def computing(self, start_ns: int) -> AbstractContextManager[None]:
        """A span of the computation, current inside the block. It is ended with the others."""
        ...

    def headers(self) -> dict[str, str]:
        """What tells another process of the span of the computation."""
        ...

    def child(self, model_name: str, start_ns: int) -> "Spans":
        """The spans of a request to another model, which is made by the computation."""
        ...

    def finish(self, trace: "Trace") -> None:
        """End all spans: the request is over, and `trace` has its times."""
        ...


class Trace:
    """One sampled request. Whoever has the request in hand writes here: no two threads at a time.

    Times are those of the monotonic clock, in ns, under Triton's names.
    """

    __slots__ = (
        "_ids", "children", "error", "id", "log_frequency", "model_name", "model_version", "parent_id", "request_id",
        "scope", "spans", "tensors", "times", "wants_tensors",
    )  # fmt: skip

    def __init__(
        self,
        trace_id: int,
        model_name: str,
        *,
        scope: str = "",
        log_frequency: int = 0,
        wants_tensors: bool = False,
        spans: Spans | None = None,
        ids: Iterator[int] | None = None,
    ) -> None:
        """`scope`: whose settings it was sampled by, a model's name or "". `log_frequency`: see TraceConfig. `ids`: for
        its children.
        """
        self.id = trace_id
        self.model_name = model_name
        self.model_version = ""
        self.request_id = ""
        self.scope = scope
        self.log_frequency = log_frequency
        self.wants_tensors = wants_tensors
        self.times: list[tuple[str, int]] = []
        self.tensors: list[tuple[str, str, Array]] = []
        self.spans = spans
        self.error = ""
        self.parent_id = 0
        self.children: list[Trace] = []
        """The requests to other models that were made for this one, and are over."""
        self._ids = ids or count(trace_id + 1)

    def __repr__(self) -> str:
        last = self.times[-1][0] if self.times else "new"
        return f"<Trace {self.id} model={self.model_name!r} request_id={self.request_id!r} {last}>"

    def stamp(self, name: str, time_ns: int | None = None) -> None:
        """Note that something happened, now or at `time_ns`."""
        self.times.append((name, time.monotonic_ns() if time_ns is None else time_ns))

    def begin_request(self, model_version: str, request_id: str, inputs: Mapping[str, Array]) -> None:
        """The request is decoded and handed to its model."""
        self.model_version = model_version
        self.request_id = request_id
        now_ns = time.monotonic_ns()
        self.stamp("REQUEST_START", now_ns)
        self.record("TENSOR_QUEUE_INPUT", inputs)
        if self.spans is not None:
            self.spans.begin_request(now_ns, model_version, request_id)

    def executed(
        self, queued_ns: int, start_ns: int, input_end_ns: int, output_start_ns: int, end_ns: int
    ) -> None:
        """The model has answered: when the request was queued, and how its execution went."""
        self.times += (
            ("QUEUE_START", queued_ns),
            ("COMPUTE_START", start_ns),
            ("COMPUTE_INPUT_END", input_end_ns),
            ("COMPUTE_OUTPUT_START", output_start_ns),
            ("COMPUTE_END", end_ns),
        )

    def record(self, activity: str, tensors: Mapping[str, Array]) -> None:
        """Keep a copy of tensors, if they are wanted: their memory may be a client's."""
        if self.wants_tensors:
            self.tensors += ((activity, name, array.copy()) for name, array in tensors.items())

    def recorded(self, activity: str) -> dict[str, Array]:
        """The tensors that were kept for an activity."""
        return {name: array for of, name, array in self.tensors if of == activity}

    @property
    def nbytes(self) -> int:
        """Memory that the recorded tensors hold; elements of BYTES count as pointers."""
        children = sum(child.nbytes for child in self.children)
        return children + sum(array.nbytes for _, _, array in self.tensors)

    def child(self, model_name: str) -> "Trace":
        """The trace of a request to another model that is made for this one."""
        spans = None if self.spans is None else self.spans.child(model_name, time.monotonic_ns())
        child = Trace(
            next(self._ids), model_name, wants_tensors=self.wants_tensors, spans=spans, ids=self._ids
        )
        child.parent_id = self.id
        return child

    def end_child(self, child: "Trace", error: str = "") -> None:
        """The request to another model is over."""
        child.error = error
        if not any(name == "REQUEST_END" for name, _ in child.times):
            child.stamp("REQUEST_END")
        child.times.sort(key=itemgetter(1))
        if child.spans is not None:
            child.spans.finish(child)
        self.children.append(child)


def computing(traces: Sequence[Trace], start_ns: int) -> AbstractContextManager[None]:
    """A computation for several requests: one span in each of their traces. Inside the block the first one's is
    current, because only one can be.
    """
    return _computing(traces, start_ns) if traces else _NOTHING


_NOTHING = nullcontext()


@contextmanager
def _computing(traces: Sequence[Trace], start_ns: int) -> Iterator[None]:
    with ExitStack() as stack:
        for trace in reversed(traces):
            if trace.spans is not None:
                stack.enter_context(trace.spans.computing(start_ns))
        yield
