"""OUTPUT0 = INPUT0 + INPUT1, OUTPUT1 = INPUT0 - INPUT1, of the datatypes that the configuration gives the outputs."""

import json

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        model_config = json.loads(args["model_config"])
        self.dtypes = {}
        for name in ("OUTPUT0", "OUTPUT1"):
            config = pb_utils.get_output_config_by_name(model_config, name)
            self.dtypes[name] = pb_utils.triton_string_to_numpy(config["data_type"])

    def execute(self, requests):
        responses = []
        for request in requests:
            in_0 = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            in_1 = pb_utils.get_input_tensor_by_name(request, "INPUT1").as_numpy()
            sums = pb_utils.Tensor("OUTPUT0", (in_0 + in_1).astype(self.dtypes["OUTPUT0"]))
            differences = pb_utils.Tensor("OUTPUT1", (in_0 - in_1).astype(self.dtypes["OUTPUT1"]))
            responses.append(pb_utils.InferenceResponse(output_tensors=[sums, differences]))
        return responses

    def finalize(self):
        print("Cleaning up...")
