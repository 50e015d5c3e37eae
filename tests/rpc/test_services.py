"""The table of RPCs, which no transport has a part in."""

import subprocess
import sys

import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.rpc.calls import Streaming
from kserve_v2.rpc.servicer import InferenceServicer
from kserve_v2.rpc.typed import SERVICE_NAME

PRINTED = "import sys, kserve_v2.server; print('grpc' in sys.modules)"


@pytest.mark.slow
def test_grpcio_is_not_imported_unless_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTED], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"


def test_every_method_of_the_service_has_its_place_in_the_table() -> None:

    class Service:
        """As much of InferenceService as the table is made of."""

        shared_memory = SharedMemoryRegions(enabled=False)
        tracer = slicer = None

    rpcs = InferenceServicer(Service()).rpcs()  # type: ignore[arg-type]
    described = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    assert sorted(rpc.path for rpc in rpcs) == sorted(
        f"/{SERVICE_NAME}/{method.name}" for method in described
    )
    streaming = [rpc.path.rpartition("/")[2] for rpc in rpcs if isinstance(rpc, Streaming)]
    assert streaming == ["ModelStreamInfer"]
