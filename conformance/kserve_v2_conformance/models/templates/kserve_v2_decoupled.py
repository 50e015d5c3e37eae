"""A decoupled test model, as a handler of kserve-v2."""

from computations import stream


class Model:
    """Yields what the configuration's parameter `behaviour` names."""

    def load(self, context):
        self._behaviour = context.parameters["behaviour"]

    def __call__(self, inputs):
        yield from stream(self._behaviour, inputs)
