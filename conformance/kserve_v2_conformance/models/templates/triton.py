"""A test model, for the Python backend of tritonserver. Requests of a batch are answered one by one."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils
from computations import respond, stream

_SEQUENCE_START, _SEQUENCE_END = 1, 2


class TritonPythonModel:
    """Computes what the configuration's parameter `behaviour` names."""

    def initialize(self, args):
        config = json.loads(args["model_config"])
        self._behaviour = config["parameters"]["behaviour"]["string_value"]
        self._version = int(args["model_version"])
        self._decoupled = pb_utils.using_decoupled_model_transaction_policy(config)
        self._opaque = {each["name"] for each in config["input"] if each["data_type"] == "TYPE_BF16"}
        self._sums = {}
        if self._behaviour == "BROKEN":
            raise pb_utils.TritonModelException("told not to load")

    def execute(self, requests):
        if self._decoupled:
            for request in requests:
                self._stream(request)
            return None
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        inputs = self._inputs(request)
        if self._behaviour == "ACCUMULATE":
            return _response(self._accumulate(request, inputs["INPUT0"]))
        parameters = json.loads(request.parameters() or "{}")
        return _response(respond(self._behaviour, inputs, self._version, parameters))

    def _stream(self, request):
        inputs = self._inputs(request)
        sender = request.get_response_sender()
        try:
            for outputs in stream(self._behaviour, inputs):
                sender.send(_response(outputs))
        except RuntimeError as error:
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _inputs(self, request):
        """The inputs as arrays; as they are where numpy lacks their datatype, BF16, which only identities take."""
        return {
            tensor.name(): tensor if tensor.name() in self._opaque else tensor.as_numpy()
            for tensor in request.inputs()
        }

    def _accumulate(self, request, value):
        key, flags = request.correlation_id(), request.flags()
        total = value if flags & _SEQUENCE_START else self._sums[key] + value
        self._sums[key] = total
        if flags & _SEQUENCE_END:
            del self._sums[key]
        return {"OUTPUT0": total}


def _response(outputs):
    return pb_utils.InferenceResponse([_tensor(*each) for each in outputs.items()])


def _tensor(name, value):
    if isinstance(value, np.ndarray):
        return pb_utils.Tensor(name, value)
    return pb_utils.Tensor.from_dlpack(name, value.to_dlpack())
