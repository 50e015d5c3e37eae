"""Decoupled: answers IN as often as IN says, each request by a thread of its own."""

import threading

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.inflight = 0
        self.changed = threading.Condition()

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            count = int(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0])
            with self.changed:
                self.inflight += 1
            threading.Thread(target=self.answer, args=(sender, count)).start()
        return None

    def answer(self, sender, count):
        for _ in range(count):
            if sender.is_cancelled():
                break
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([count], np.int32))]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        with self.changed:
            self.inflight -= 1
            self.changed.notify()

    def finalize(self):
        with self.changed:
            self.changed.wait_for(lambda: self.inflight == 0)
        print("square: nothing in flight")
