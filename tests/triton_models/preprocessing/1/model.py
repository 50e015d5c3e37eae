"""Decodes pictures, and makes of them what a network takes: CHW in 0..1."""

import io
import json

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image


class TritonPythonModel:
    def initialize(self, args):
        config = pb_utils.get_output_config_by_name(json.loads(args["model_config"]), "OUTPUT_0")
        self.dtype = pb_utils.triton_string_to_numpy(config["data_type"])

    def execute(self, requests):
        responses = []
        for request in requests:
            pictures = []
            for data in pb_utils.get_input_tensor_by_name(request, "INPUT_0").as_numpy().ravel():
                picture = Image.open(io.BytesIO(data)).convert("RGB").resize((8, 8))
                pictures.append(np.array(picture, np.float32).transpose(2, 0, 1) / 255)
            out = pb_utils.Tensor("OUTPUT_0", np.stack(pictures).astype(self.dtype))
            responses.append(pb_utils.InferenceResponse(output_tensors=[out]))
        return responses
