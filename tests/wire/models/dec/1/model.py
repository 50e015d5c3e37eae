"""One response for each command; `fail` is one that ends it."""

from kserve_v2.errors import NotFoundError


class Model:
    def __call__(self, inputs):
        for command in inputs["COMMANDS"].tolist():
            if command == b"fail":
                raise NotFoundError("told to fail")
            yield {"OUT": [command]}
