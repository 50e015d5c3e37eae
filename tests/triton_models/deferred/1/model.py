"""The default mode with response senders: two requests are answered together, with the values of each other."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.waiting = None

    def execute(self, requests):
        for request in requests:
            value = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            sender = request.get_response_sender()
            if self.waiting is None:
                self.waiting = sender, value
                continue
            other_sender, other_value = self.waiting
            self.waiting = None
            final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
            other_sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", value)]), flags=final)
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", other_value)]), flags=final)
        return None
