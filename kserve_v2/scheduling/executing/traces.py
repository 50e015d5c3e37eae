"""What the schedulers note of a request that is traced. Called for no other, so the others pay nothing."""

from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import ExecutionTimes
from kserve_v2.tracing.trace import Trace


def trace_execution(trace: Trace, pending: Pending, times: ExecutionTimes, signature: ModelSignature) -> None:
    """A model has answered a request."""
    trace.executed(pending.enqueued_ns, *times)
    if trace.wants_tensors:
        # The inputs that were recorded before: the model may have written to the request's own.
        inputs = trace.recorded("TENSOR_QUEUE_INPUT")
        trace.record(
            "TENSOR_BACKEND_INPUT",
            signature.reshape_inputs(inputs) if signature.reshapes_inputs else inputs,
        )


def trace_failure(trace: Trace, pending: Pending, taken_ns: int) -> None:
    """A model has failed on a request."""
    trace.stamp("QUEUE_START", pending.enqueued_ns)
    trace.stamp("COMPUTE_START", taken_ns)
    trace.stamp("COMPUTE_END")
    trace.stamp("REQUEST_END")


def trace_response(trace: Trace, outputs: Outputs) -> None:
    """A response, of which there may be several, is on its way to the client."""
    trace.record("TENSOR_BACKEND_OUTPUT", outputs)
    trace.stamp("INFER_RESPONSE_COMPLETE")
