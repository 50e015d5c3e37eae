"""A test model, as a handler of kserve-v2."""

from computations import respond


class Model:
    """Computes what the configuration's parameter `behaviour` names."""

    def load(self, context):
        self._behaviour = context.parameters["behaviour"]
        self._version = context.version
        if self._behaviour == "BROKEN":
            raise RuntimeError("told not to load")

    def __call__(self, inputs, requests):
        request = requests[0]
        request.response_parameters.update(self._response_parameters(request.parameters))
        return respond(self._behaviour, inputs, self._version, request.parameters)

    def _response_parameters(self, parameters):
        return {"parameter_count": len(parameters)} if self._behaviour == "ECHO_PARAMETERS" else {}
