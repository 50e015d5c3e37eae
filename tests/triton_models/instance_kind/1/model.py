"""A torch network on the device that the instance is told."""

import numpy as np
import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.device = "cuda" if args["model_instance_kind"] == "GPU" else "cpu"
        torch.manual_seed(0)
        self.model = torch.nn.Linear(4, 2, bias=False).to(self.device).eval()
        with torch.no_grad():
            self.model.weight.copy_(torch.arange(8.0).reshape(2, 4))

    def execute(self, requests):
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "INPUT")
            with torch.no_grad():
                result = self.model(torch.from_dlpack(tensor.to_dlpack()).to(self.device))
            out = pb_utils.Tensor.from_dlpack("OUTPUT", torch.utils.dlpack.to_dlpack(result))
            kind = pb_utils.Tensor("DEVICE", np.array([[self.device]] * len(result), np.object_))
            responses.append(pb_utils.InferenceResponse(output_tensors=[out, kind]))
        return responses
