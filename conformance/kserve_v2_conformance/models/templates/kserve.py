"""The test models, as a server made with KServe's Python library: `python server.py [options of the library]`.

A model decodes, computes and encodes, and leaves everything else to the server.
"""

import asyncio
import json
from pathlib import Path

from computations import ANSWERED_PARAMETERS, respond, seconds_to_wait
from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import generate_uuid

# What the library itself leaves among a request's parameters.
_SERVER_PARAMETERS = {"binary_data_output"}


class TestModel(Model):
    """Computes what its description names."""

    def __init__(self, description):
        super().__init__(description["name"])
        self._behaviour = description["behaviour"]
        self._inputs, self._outputs = description["inputs"], description["outputs"]
        self.ready = True

    def get_input_types(self):
        return self._inputs

    def get_output_types(self):
        return self._outputs

    async def predict(self, payload, headers=None, response_headers=None):
        inputs = {each.name: each.as_numpy() for each in payload.inputs}
        parameters = _own_parameters(payload)
        behaviour = self._behaviour
        if behaviour == "WAIT":
            await asyncio.sleep(seconds_to_wait(inputs))
            behaviour = "IDENTITY"
        outputs = respond(behaviour, inputs, 1, parameters)
        return InferResponse(
            response_id=payload.id or generate_uuid(),
            model_name=self.name,
            infer_outputs=[_encode(name, value, payload) for name, value in outputs.items()],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
            parameters=ANSWERED_PARAMETERS if behaviour == "ANSWER_PARAMETERS" else None,
        )


def _own_parameters(payload):
    given = dict(payload.parameters or {})
    if payload.from_grpc:
        given = {name: getattr(each, each.WhichOneof("parameter_choice")) for name, each in given.items()}
    return {name: value for name, value in given.items() if name not in _SERVER_PARAMETERS}


def _encode(name, value, payload):
    output = InferOutput(name, list(value.shape), from_np_dtype(value.dtype))
    output.set_data_from_numpy(value, binary_data=payload.use_binary_outputs)
    return output


if __name__ == "__main__":
    described = json.loads(Path(__file__).with_name("models.json").read_text())
    ModelServer().start([TestModel(each) for each in described])
