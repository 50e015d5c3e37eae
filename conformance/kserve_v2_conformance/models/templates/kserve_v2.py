"""A test model, as a handler of kserve-v2."""

import numpy as np
from computations import ANSWERED_PARAMETERS, respond


class Model:
    """Computes what the configuration's parameter `behaviour` names."""

    def load(self, context):
        self._behaviour = context.parameters["behaviour"]
        self._version = context.version
        self._sums = {}
        if self._behaviour == "BROKEN":
            raise RuntimeError("told not to load")

    def __call__(self, inputs, requests):
        if self._behaviour == "ACCUMULATE":
            rows = zip(requests, inputs["INPUT0"], strict=True)
            return {
                "OUTPUT0": np.stack([self._accumulate(request.sequence, value) for request, value in rows])
            }
        request = requests[0]
        if self._behaviour == "ANSWER_PARAMETERS":
            request.response_parameters.update(ANSWERED_PARAMETERS)
        return respond(self._behaviour, inputs, self._version, request.parameters)

    def _accumulate(self, step, value):
        """The sum so far. Each request of a sequence is one row."""
        total = value if step.start else self._sums[step.id] + value
        self._sums[step.id] = total
        if step.end:
            del self._sums[step.id]
        return total
