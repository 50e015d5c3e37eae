"""Answers with the parameters of the request: the names, the values, and the types."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            parameters = json.loads(request.parameters())
            columns = {
                "key": list(parameters),
                "value": [str(value) for value in parameters.values()],
                "type": [type(value).__name__ for value in parameters.values()],
            }
            outputs = [pb_utils.Tensor(name, np.array(texts, np.object_)) for name, texts in columns.items()]
            responses.append(
                pb_utils.InferenceResponse(outputs, parameters={"count": len(parameters), "echo": "ŝ"})
            )
        return responses
