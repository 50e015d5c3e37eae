"""Decoupled: a response for each element of IN, after a while each, by a thread; the last one with the final flag."""

import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            delays = pb_utils.get_input_tensor_by_name(request, "DELAY").as_numpy()
            thread = threading.Thread(
                target=self.answer, args=(request.get_response_sender(), values, delays)
            )
            thread.daemon = True
            thread.start()

    def answer(self, sender, values, delays):
        out = np.empty(1, np.int32)
        for index, (value, delay) in enumerate(zip(values, delays)):
            time.sleep(delay / 1000)
            # The same array again and again: what was sent is not changed by that.
            out[0] = value
            outputs = [pb_utils.Tensor("OUT", out), pb_utils.Tensor("IDX", np.array([index], np.uint32))]
            last = index == len(values) - 1
            sender.send(
                pb_utils.InferenceResponse(outputs),
                flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if last else 0,
            )
        if not len(values):
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
