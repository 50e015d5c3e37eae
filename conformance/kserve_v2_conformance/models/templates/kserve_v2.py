"""A test model, as a handler of kserve-v2."""

from computations import ANSWERED_PARAMETERS, respond


class Model:
    """Computes what the configuration's parameter `behaviour` names."""

    def load(self, context):
        self._behaviour = context.parameters["behaviour"]
        self._version = context.version
        if self._behaviour == "BROKEN":
            raise RuntimeError("told not to load")

    def __call__(self, inputs, requests):
        request = requests[0]
        if self._behaviour == "ANSWER_PARAMETERS":
            request.response_parameters.update(ANSWERED_PARAMETERS)
        return respond(self._behaviour, inputs, self._version, request.parameters)
