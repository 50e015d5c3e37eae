"""Floats in typed contents come out as they were put in, however many there are."""

import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.rpc.codec import decode_request

# Around the sizes at which a message needs one more byte to say how long it is.
COUNTS = (0, 1, 15, 16, 31, 32, 2047, 2048, 4095, 4096, 300_000)
SPECIAL = (np.nan, -0.0, np.inf, -np.inf)


def message(field: str, datatype: str, values: list[float]) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[len(values)])
    getattr(tensor.contents, field).extend(values)
    return request


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("datatype", "field", "dtype"), [("FP32", "fp32_contents", "<f4"), ("FP64", "fp64_contents", "<f8")]
)
def test_floats(datatype: str, field: str, dtype: str, count: int) -> None:
    values = np.random.default_rng(count).standard_normal(count).astype(dtype)
    values[: len(SPECIAL)] = SPECIAL[:count]
    request = message(field, datatype, values.tolist())
    decoded, _ = decode_request(request, SharedMemoryRegions(enabled=False))
    assert decoded.inputs["x"].dtype == np.dtype(dtype)
    assert decoded.inputs["x"].tobytes() == values.tobytes()
    assert decoded.inputs["x"].flags.writeable


def test_fields_that_are_not_known() -> None:
    request = message("fp32_contents", "FP32", [1.5, -2.0, 3.25])
    # Field 200, of bytes.
    request.inputs[0].contents.MergeFromString(b"\xc2\x0c\x03abc")
    decoded, _ = decode_request(request, SharedMemoryRegions(enabled=False))
    assert decoded.inputs["x"].tolist() == [1.5, -2.0, 3.25]
