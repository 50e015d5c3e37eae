"""A test model, as a runtime of MLServer.

It decodes, computes and encodes, and leaves everything else to the server, as the examples in MLServer's
documentation do. Elements of BYTES pass without a codec, whose strings cannot hold every byte.
"""

import asyncio

import numpy as np
from computations import ANSWERED_PARAMETERS, respond, seconds_to_wait
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import Datatype, InferenceResponse, Parameters, ResponseOutput

# What MLServer itself puts among a request's parameters.
_SERVER_PARAMETERS = {"content_type", "headers"}


class Runtime(MLModel):
    """Computes what the setting `behaviour` names."""

    async def predict(self, payload):
        behaviour = self.settings.parameters.extra["behaviour"]
        inputs = {each.name: _decode(each) for each in payload.inputs}
        if behaviour == "WAIT":
            await asyncio.sleep(seconds_to_wait(inputs))
            behaviour = "IDENTITY"
        parameters = _own_parameters(payload.parameters)
        outputs = respond(behaviour, inputs, int(self.version), parameters)
        response = InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[_encode(name, value) for name, value in outputs.items()],
        )
        if behaviour == "ANSWER_PARAMETERS":
            response.parameters = Parameters(**ANSWERED_PARAMETERS)
        return response


def _own_parameters(parameters):
    if parameters is None:
        return {}
    given = parameters.model_dump(exclude_none=True)
    return {name: value for name, value in given.items() if name not in _SERVER_PARAMETERS}


def _decode(request_input):
    if Datatype(request_input.datatype) is not Datatype.BYTES:
        return NumpyCodec.decode_input(request_input)
    elements = np.empty(len(request_input.data), np.object_)
    elements[:] = list(request_input.data)
    return elements.reshape(request_input.shape)


def _encode(name, value):
    if value.dtype != np.object_:
        output = NumpyCodec.encode_output(name, value)
        output.shape = list(value.shape)  # the codec makes [n] into [n, 1]
        return output
    elements = [each.encode() if isinstance(each, str) else each for each in value.ravel()]
    return ResponseOutput(name=name, datatype="BYTES", shape=list(value.shape), data=elements)
