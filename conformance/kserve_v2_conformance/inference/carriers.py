"""Sends one request over any carrier."""

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import grpc_carrier, rest_carrier
from kserve_v2_conformance.inference.request import InferRequest, Outcome
from kserve_v2_conformance.target import Target


def infer(target: Target, request: InferRequest, carrier: str, checks: Checks) -> Outcome:
    """Send a request and read its answer. Raises UnreadableAnswer, and NotCovered without a gRPC address."""
    match carrier:
        case "json":
            return rest_carrier.read(
                rest_carrier.send(target.rest, rest_carrier.encode_json(request)), checks
            )
        case "binary":
            return rest_carrier.read(
                rest_carrier.send(target.rest, rest_carrier.encode_binary(request)), checks
            )
        case "grpc-raw":
            return grpc_carrier.read(
                target.grpc.call(grpc_carrier.encode_raw(request), pb.ModelInferResponse), checks
            )
        case "grpc-typed":
            return grpc_carrier.read(
                target.grpc.call(grpc_carrier.encode_typed(request), pb.ModelInferResponse), checks
            )
        case _:
            raise ValueError(f"no carrier {carrier}")
