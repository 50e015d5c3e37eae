"""All RPCs of a server."""

from kserve_v2.inference import InferenceService
from kserve_v2.rpc import health, reflection, servicer
from kserve_v2.rpc.calls import Rpc

MODEL_INFER = f"/{servicer.SERVICE_NAME}/ModelInfer"
"""The path of the RPC that nearly all calls are of."""


def all_rpcs(service: InferenceService) -> tuple[Rpc, ...]:
    """Inference, health and reflection."""
    return (
        *servicer.InferenceServicer(service).rpcs(),
        *health.health_rpcs(service),
        *reflection.reflection_rpcs([servicer.SERVICE_NAME, health.SERVICE_NAME]),
    )
