"""Texts in each of the ways in which a model may have them; in a batch of any rows."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
            assert texts.dtype == np.object_ and all(isinstance(text, bytes) for text in texts.ravel())
            upper = np.array([text.decode().upper() for text in texts.ravel()], np.object_).reshape(
                texts.shape
            )
            fixed = np.array([text[:3] for text in texts.ravel()], "S3").reshape(texts.shape)
            mixed = np.array([len(text) for text in texts.ravel()], np.object_).reshape(texts.shape)
            outputs = [
                pb_utils.Tensor("UPPER", upper),
                pb_utils.Tensor("FIRST", fixed),
                pb_utils.Tensor("LENGTH", mixed),
                pb_utils.Tensor("SAME", texts),
            ]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
