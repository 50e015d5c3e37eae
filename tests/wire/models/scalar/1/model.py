"""Gives back its input, and how many dimensions it had."""

import numpy as np


class Model:
    def __call__(self, inputs):
        value = inputs["IN"]
        return {"OUT": value, "RANK": np.full((len(value), 1), value.ndim, np.int32)}
