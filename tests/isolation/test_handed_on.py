"""Large tensors that a model hands on go back as they are; what it keeps, and changes later, changes no answer."""

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.integration.conftest import ExplicitServer

ELEMENTS = 1 << 18

HANDLER = """
class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": ("FP32", [-1])}}
    max_batch_size = 4
    ragged = {ragged}
    kept = None

    {how}def __call__(self, inputs, requests):
        if self.kept is not None:
            # Whoever got it must not see this.
            self.kept[:] = -1
        x = inputs[0]["x"] if self.ragged else inputs["x"]
        mode = requests[0].parameters.get("mode", "")
        self.kept = {{"same": x, "view": x[:], "part": x[0, 1:], "inputs": None}}.get(mode)
        if mode == "inputs":
            self.held = inputs
            self.kept = x
        if mode == "request":
            self.request = requests[0]
        answer = {{"y": x.view() if mode == "given view" else x}}
        return [answer] if self.ragged else answer
"""


@pytest.mark.parametrize("how", ["", "async "], ids=["sync", "async"])
@pytest.mark.parametrize("ragged", [False, True], ids=["joined", "separate"])
def test_what_a_model_keeps_of_what_it_hands_on_is_not_the_client_s(
    isolated: ExplicitServer, how: str, ragged: bool
) -> None:
    isolated.write("keeper", HANDLER.format(how=how, ragged=ragged))
    assert isolated.load("keeper").status_code == 200
    modes = ["", "same", "view", "", "part", "inputs", "given view", "request", "same", "same"]
    with triton.InferenceServerClient(isolated.server.grpc) as client:
        answers = []
        for number, mode in enumerate(modes):
            x = triton.InferInput("x", [1, ELEMENTS], "FP32")
            x.set_data_from_numpy(np.full((1, ELEMENTS), number, np.float32))
            answers.append(client.infer("keeper", [x], parameters={"mode": mode}))
        for number, answer in enumerate(answers):
            got = answer.as_numpy("y")
            assert (got.shape, set(got[0].tolist())) == ((1, ELEMENTS), {float(number)}), modes[number]
