"""A model that does nothing, for Triton's Python backend."""

from typing import Any

import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # the server brings it


class TritonPythonModel:
    """FP32 of any length."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer to each request."""
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", array)]))
        return responses
