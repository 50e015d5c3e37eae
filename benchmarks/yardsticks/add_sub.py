"""The work that all yardsticks for `add_sub` do, each behind another transport: decode, run the model, encode."""

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from benchmarks.yardsticks.session import one_thread_session
from kserve_v2._generated import grpc_service_pb2 as pb

_OUTPUTS = ("OUTPUT0", "OUTPUT1")


class AddSub:
    """INPUT0 and INPUT1, OUTPUT0 and OUTPUT1: all INT32, or all FP32. Nothing is checked."""

    def __init__(self, model_file: str) -> None:
        self._session = one_thread_session(model_file)
        floats = self._session.get_inputs()[0].type == "tensor(float)"
        self._datatype = "FP32" if floats else "INT32"
        self._dtype: np.dtype[Any] = np.dtype(np.float32 if floats else np.int32)
        self._field = "fp32_contents" if floats else "int_contents"

    def json(self, body: bytes | bytearray) -> bytes:
        """The answer to an inference request all in JSON."""
        feed = {
            tensor["name"]: np.array(tensor["data"], dtype=self._dtype).reshape(tensor["shape"])
            for tensor in orjson.loads(body)["inputs"]
        }
        outputs = [
            {"name": name, "datatype": self._datatype, "shape": array.shape, "data": self._data(array)}
            for name, array in self._run(feed)
        ]
        answer = {"model_name": "add_sub", "model_version": "1", "outputs": outputs}
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)

    def _data(self, array: npt.NDArray[Any]) -> Any:
        # Of few integers, a list is written faster; of floats, an array with half of the digits.
        return array.ravel().tolist() if self._datatype == "INT32" else array.ravel()

    def message(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """The answer to a ModelInfer with raw or typed contents."""
        raw = list(request.raw_input_contents)
        feed = {
            tensor.name: (
                np.frombuffer(raw[place], dtype=self._dtype)
                if raw
                else np.array(getattr(tensor.contents, self._field), dtype=self._dtype)
            ).reshape(tensor.shape)
            for place, tensor in enumerate(request.inputs)
        }
        response = pb.ModelInferResponse(model_name="add_sub", model_version="1")
        for name, array in self._run(feed):
            response.outputs.add(name=name, datatype=self._datatype, shape=array.shape)
            response.raw_output_contents.append(array.tobytes())
        return response

    def _run(self, feed: dict[str, npt.NDArray[Any]]) -> "zip[tuple[str, npt.NDArray[Any]]]":
        return zip(_OUTPUTS, self._session.run(None, feed), strict=True)
