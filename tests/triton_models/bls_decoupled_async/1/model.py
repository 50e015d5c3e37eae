"""Adds up what two calls of a decoupled model answer at the same time."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        responses = []
        for request in requests:
            number = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            calls = []
            for value in (number, number + 1):
                infer_request = pb_utils.InferenceRequest(
                    model_name="square",
                    inputs=[pb_utils.Tensor("IN", value)],
                    requested_output_names=["OUT"],
                )
                calls.append(infer_request.async_exec(decoupled=True))
            total = 0
            for infer_responses in await asyncio.gather(*calls):
                for infer_response in infer_responses:
                    if infer_response.has_error():
                        raise pb_utils.TritonModelException(infer_response.error().message())
                    for tensor in infer_response.output_tensors():
                        total += tensor.as_numpy()[0]
            outputs = [pb_utils.Tensor("SUM", np.array([total], np.int32))]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
