"""Large tensors of integers in gRPC's typed contents, which are read in slices, are answered as small ones are; and so is
what is wrong with them.
"""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import Channel
from tests.integration.handlers import identity
from tests.integration.support import metric, wait_until

pytestmark = pytest.mark.slow

FIELDS = {"INT32": "int_contents", "INT64": "int64_contents", "INT8": "int_contents", "BOOL": "bool_contents"}
DTYPES = {"INT32": np.int32, "INT64": np.int64, "INT8": np.int8, "BOOL": np.bool_}
SIZES = [1_000, 70_000, 400_000]


@pytest.fixture(scope="module", params=[1, 2])
def server(
    request: pytest.FixtureRequest,
    start_server: StartServer,
    write_model: WriteModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("integers")
    for datatype in FIELDS:
        write_model(root, datatype.lower(), identity(datatype, [-1]))
    server = start_server(root, f"--processes={request.param}")
    yield server
    wait_until(lambda: metric(server, "kserve_v2_inflight_bytes") == 0)


def message(datatype: str, values: list[int], *, more: int = 0) -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name=datatype.lower(), id="large")
    tensor = asked.inputs.add(name="IN", datatype=datatype, shape=[len(values) + more])
    getattr(tensor.contents, FIELDS[datatype]).extend(values)
    return asked


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("datatype", FIELDS)
def test_all_of_them_come_back(server: RunningServer, datatype: str, size: int) -> None:
    """Also when such a request has come before."""
    low, high = (0, 2) if datatype == "BOOL" else (-100, 100)
    with Channel(server) as channel:
        for number in range(6):
            values = np.random.default_rng(number).integers(low, high, size)
            asked = message(datatype, values.tolist())
            expected = values.astype(DTYPES[datatype]).tobytes()
            answer = channel.infer(asked, timeout=120)
            assert answer.id == "large"
            assert answer.raw_output_contents[0] == expected
            [streamed] = channel.stream(asked)
            assert streamed.infer_response.raw_output_contents[0] == expected


@pytest.mark.parametrize("size", SIZES)
def test_what_is_wrong_with_them(server: RunningServer, size: int) -> None:
    other = message("INT32", [5] * size)
    other.inputs[0].datatype = "INT64"
    wrong = {
        "value out of range for INT8 [-128, 127]": message("INT8", [5] * size + [128]),
        f"Expected {4 * size + 4}, got {4 * size}": message("INT32", [5] * size, more=1),
        "int_contents is filled, but datatype 'INT64' expects int64_contents": other,
    }
    with Channel(server) as channel:
        for said, asked in wrong.items():
            code, details = channel.infer_fails(asked)
            assert code == grpc.StatusCode.INVALID_ARGUMENT
            assert said in details
            [streamed] = channel.stream(asked)
            assert said in streamed.error_message
