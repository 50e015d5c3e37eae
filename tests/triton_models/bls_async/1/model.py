"""Calls two models at the same time, and takes an output of each."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        responses = []
        for request in requests:
            in_0 = pb_utils.get_input_tensor_by_name(request, "INPUT0")
            in_1 = pb_utils.get_input_tensor_by_name(request, "INPUT1")
            calls = []
            for name, output in (("add_sub", "OUTPUT0"), ("nobatch_auto_complete", "OUTPUT1")):
                infer_request = pb_utils.InferenceRequest(
                    model_name=name, requested_output_names=[output], inputs=[in_0, in_1]
                )
                calls.append(infer_request.async_exec())
            infer_responses = await asyncio.gather(*calls)
            for infer_response in infer_responses:
                if infer_response.has_error():
                    raise pb_utils.TritonModelException(infer_response.error().message())
            sums = pb_utils.get_output_tensor_by_name(infer_responses[0], "OUTPUT0").as_numpy()
            differences = pb_utils.get_output_tensor_by_name(infer_responses[1], "OUTPUT1").as_numpy()
            outputs = [
                pb_utils.Tensor("OUTPUT0", sums),
                pb_utils.Tensor("OUTPUT1", differences.astype(np.float32)),
            ]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
