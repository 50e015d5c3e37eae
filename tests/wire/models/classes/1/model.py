"""One output for each kind of datatype that may be asked for as classes."""

import numpy as np


class Model:
    def __call__(self, inputs):
        scores = inputs["IN"]
        return {"SCORES": scores, "COUNTS": scores.astype(np.int32), "FLAGS": scores > 0}
