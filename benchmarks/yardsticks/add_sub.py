"""The work that all yardsticks for `add_sub` do, each behind another transport: decode, run the model, encode."""

import numpy as np
import numpy.typing as npt
import orjson

from benchmarks.yardsticks.session import one_thread_session
from kserve_v2._generated import grpc_service_pb2 as pb

_OUTPUTS = ("OUTPUT0", "OUTPUT1")


class AddSub:
    """INPUT0 and INPUT1 INT32 [n, 16], OUTPUT0 and OUTPUT1 likewise. Nothing is checked."""

    def __init__(self, model_file: str) -> None:
        self._session = one_thread_session(model_file)

    def json(self, body: bytes | bytearray) -> bytes:
        """The answer to an inference request all in JSON."""
        feed = {
            tensor["name"]: np.array(tensor["data"], dtype=np.int32).reshape(tensor["shape"])
            for tensor in orjson.loads(body)["inputs"]
        }
        outputs = [
            {"name": name, "datatype": "INT32", "shape": array.shape, "data": array.ravel().tolist()}
            for name, array in self._run(feed)
        ]
        return orjson.dumps({"model_name": "add_sub", "model_version": "1", "outputs": outputs})

    def message(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """The answer to a ModelInfer with raw or typed contents."""
        raw = list(request.raw_input_contents)
        feed = {
            tensor.name: (
                np.frombuffer(raw[place], dtype=np.int32)
                if raw
                else np.array(tensor.contents.int_contents, dtype=np.int32)
            ).reshape(tensor.shape)
            for place, tensor in enumerate(request.inputs)
        }
        response = pb.ModelInferResponse(model_name="add_sub", model_version="1")
        for name, array in self._run(feed):
            response.outputs.add(name=name, datatype="INT32", shape=array.shape)
            response.raw_output_contents.append(array.tobytes())
        return response

    def _run(self, feed: dict[str, npt.NDArray[np.int32]]) -> "zip[tuple[str, npt.NDArray[np.int32]]]":
        return zip(_OUTPUTS, self._session.run(None, feed), strict=True)
