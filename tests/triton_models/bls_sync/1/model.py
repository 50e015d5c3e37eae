"""Calls the model that MODEL_NAME names, and answers with what that answers."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            in_0 = pb_utils.get_input_tensor_by_name(request, "INPUT0")
            in_1 = pb_utils.get_input_tensor_by_name(request, "INPUT1")
            name = pb_utils.get_input_tensor_by_name(request, "MODEL_NAME").as_numpy()[0].decode("utf-8")
            infer_request = pb_utils.InferenceRequest(
                model_name=name, requested_output_names=["OUTPUT0", "OUTPUT1"], inputs=[in_0, in_1]
            )
            infer_response = infer_request.exec()
            if infer_response.has_error():
                error = infer_response.error()
                responses.append(
                    pb_utils.InferenceResponse(error=pb_utils.TritonError(error.message(), error.code()))
                )
                continue
            responses.append(pb_utils.InferenceResponse(output_tensors=infer_response.output_tensors()))
        return responses
