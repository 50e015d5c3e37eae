"""Counting the tensors of a request that waits among the bytes in flight."""

from kserve_v2.errors import ServingError
from kserve_v2.memory.inflight import tensor_bytes
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import FailureReason


def hold(request: InferRequest, spec: ModelSpec) -> int:
    """Count them. Returns how many bytes are to be given back once it waits no longer. Raises as `InflightBytes.take`:
    then the request is counted as rejected.
    """
    size = tensor_bytes(request.inputs)
    try:
        spec.inflight.take(size)
    except ServingError:
        spec.statistics.record_failure(FailureReason.REJECTED, 0)
        raise
    return size
