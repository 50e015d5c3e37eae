"""A test model, as a handler of TorchServe, behind the envelope for the v2 protocol that TorchServe has (`kservev2`).

The envelope decodes and encodes; it tells a handler the inputs as lists, and takes lists for outputs.
"""

import numpy as np
from computations import respond

BEHAVIOURS = {"add_sub": "ADD_SUB"}


def handle(data, context):
    """Called once without data when the model is loaded."""
    if data is None:
        return None
    inputs = {each["name"]: np.asarray(each["data"]) for each in data}
    behaviour = BEHAVIOURS.get(context.manifest["model"]["modelName"], "IDENTITY")
    outputs = respond(behaviour, inputs, 1, {})
    return [value.tolist() for value in outputs.values()]
