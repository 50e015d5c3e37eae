"""OUTPUT0 = INPUT0 + INPUT1, OUTPUT1 = INPUT0 - INPUT1, computed by JAX on the CPU; in by DLPack, out by numpy."""

import jax
import numpy as np
import triton_python_backend_utils as pb_utils


@jax.jit
def add_sub(x, y):
    return x + y, x - y


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            inputs = [pb_utils.get_input_tensor_by_name(request, name) for name in ("INPUT0", "INPUT1")]
            sums, differences = add_sub(*[jax.numpy.from_dlpack(tensor) for tensor in inputs])
            outputs = [
                pb_utils.Tensor("OUTPUT0", np.asarray(sums)),
                pb_utils.Tensor("OUTPUT1", np.asarray(differences)),
            ]
            responses.append(pb_utils.InferenceResponse(output_tensors=outputs))
        return responses
