"""Does what it is told to, mistakes above all."""

import numpy as np

from kserve_v2 import errors


class Model:
    def __call__(self, inputs):
        [[command]] = inputs["COMMAND"].tolist()
        one = np.ones((1, 1), np.float32)
        match command.decode().split():
            case ["raise"]:
                raise ValueError("raised boom")
            case ["error", name]:
                raise getattr(errors, name)("as given")
            case ["missing"]:
                return {"OUT": one}
        return {"OUT": one, "OTHER": one}
