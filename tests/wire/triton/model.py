"""Runs a handler of this project under tritonserver's Python backend, as `model.py` beside the handler's `handler.py`.

Requests of a batch are answered one by one. A handler's error is answered with its code.
"""

import importlib.util
import inspect
import json
import sys
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np
import triton_python_backend_utils as pb_utils

# Flags of a request in a sequence.
_START, _END = 1, 2

# Names of the server's error codes; the module has them only once it runs.
_CODES = {
    "InvalidArgumentError": "INVALID_ARG",
    "NotFoundError": "NOT_FOUND",
    "UnavailableError": "UNAVAILABLE",
    "UnsupportedError": "UNSUPPORTED",
    "AlreadyExistsError": "ALREADY_EXISTS",
    "RequestCancelledError": "CANCELLED",
    "InternalError": "INTERNAL",
}


def _stand_in_for_kserve_v2():
    """Make the one import that handlers need: the classes of errors."""
    errors = types.ModuleType("kserve_v2.errors")
    errors.ServingError = type("ServingError", (Exception,), {})
    for name in _CODES:
        setattr(errors, name, type(name, (errors.ServingError,), {}))
    package = types.ModuleType("kserve_v2")
    package.errors = errors
    sys.modules.update({"kserve_v2": package, "kserve_v2.errors": errors})
    return errors


_errors = _stand_in_for_kserve_v2()


class _Step(NamedTuple):
    """What a handler sees of a request's sequence."""

    id: int | str
    start: bool
    end: bool


class _Request:
    """What a handler sees of a request."""

    def __init__(self, request):
        self.id = request.request_id()
        self.parameters = json.loads(request.parameters() or "{}")
        self.response_parameters = {}
        flags = request.flags()
        self.sequence = _Step(request.correlation_id(), bool(flags & _START), bool(flags & _END))


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self._outputs = {
            output["name"]: pb_utils.triton_string_to_numpy(output["data_type"])
            for output in config["output"]
            if output["data_type"] != "TYPE_BF16"
        }
        self._decoupled = pb_utils.using_decoupled_model_transaction_policy(config)
        path = Path(args["model_repository"]) / args["model_version"] / "handler.py"
        spec = importlib.util.spec_from_file_location("handler", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._model = module.Model()
        self._wants_requests = len(inspect.signature(self._model.__call__).parameters) == 2
        if hasattr(self._model, "load"):
            self._model.load(None)

    def execute(self, requests):
        if self._decoupled:
            for request in requests:
                self._stream(request)
            return None
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        seen = _Request(request)
        try:
            outputs = self._call(request, seen)
        except _errors.ServingError as error:
            return _failure(error)
        return self._response(outputs, seen)

    def _stream(self, request):
        sender, seen = request.get_response_sender(), _Request(request)
        try:
            for outputs in self._call(request, seen):
                sender.send(self._response(outputs, seen))
        except _errors.ServingError as error:
            sender.send(_failure(error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        else:
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _call(self, request, seen):
        inputs = {tensor.name(): _array(tensor) for tensor in request.inputs()}
        return self._model(inputs, [seen]) if self._wants_requests else self._model(inputs)

    def _response(self, outputs, seen):
        tensors = [self._tensor(name, value) for name, value in outputs.items()]
        if seen.response_parameters:
            return pb_utils.InferenceResponse(tensors, parameters=seen.response_parameters)
        return pb_utils.InferenceResponse(tensors)

    def _tensor(self, name, value):
        if hasattr(value, "to_dlpack"):
            return pb_utils.Tensor.from_dlpack(name, value.to_dlpack())
        return pb_utils.Tensor(name, np.asarray(value, dtype=self._outputs[name]))


def _array(tensor):
    """The tensor as an array, or as it is where numpy lacks its datatype, BF16."""
    try:
        return tensor.as_numpy()
    except Exception:  # noqa: BLE001 - whatever the C++ code raises
        return tensor


def _failure(error):
    code = getattr(pb_utils.TritonError, _CODES[type(error).__name__])
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))
