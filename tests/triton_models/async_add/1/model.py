"""An async `execute` in the default mode: the requests of a batch are worked at at the same time."""

import asyncio

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        return await asyncio.gather(*(self.answer(request) for request in requests))

    async def answer(self, request):
        in_0 = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
        in_1 = pb_utils.get_input_tensor_by_name(request, "INPUT1").as_numpy()
        await asyncio.sleep(0)
        return pb_utils.InferenceResponse([pb_utils.Tensor("SUM", in_0 + in_1)])
