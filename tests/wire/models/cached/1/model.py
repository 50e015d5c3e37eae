"""OUT is how many requests have been executed, TWICE the double of that; negative numbers are errors."""

import numpy as np

from kserve_v2.errors import InvalidArgumentError


class Model:
    def __init__(self):
        self.executed = 0

    def __call__(self, inputs):
        self.executed += 1
        if inputs["IN"].min() < 0:
            raise InvalidArgumentError(f"negative, request {self.executed}")
        rows = len(inputs["IN"])
        return {
            "OUT": np.full((rows, 1), self.executed, np.int32),
            "TWICE": np.full((rows, 1), 2 * self.executed, np.int32),
        }
