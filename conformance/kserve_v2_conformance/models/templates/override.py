"""A model that is sent with the request to load it: adds 100 times its version. For backends of Python files."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """OUTPUT0 is INPUT0 + 100 times the version."""

    def initialize(self, args):
        self._added = np.int32(100 * int(args["model_version"]))

    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(each, "INPUT0")) for each in requests]

    def _answer(self, tensor):
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", tensor.as_numpy() + self._added)])
