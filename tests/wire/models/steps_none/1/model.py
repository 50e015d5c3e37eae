"""Adds up the numbers of a sequence; INFO is what it knows of its request, controls included. All row by row."""

import json

import numpy as np


class Model:
    def __init__(self):
        self.sums = {}

    def __call__(self, inputs, requests):
        rows = [self._row(inputs, row, request) for row, request in enumerate(requests)]
        return {name: np.concatenate([row[name] for row in rows]) for name in ("SUM", "INFO")}

    def _row(self, inputs, row, request):
        step = request.sequence
        mine = {name: array[row : row + 1] for name, array in inputs.items()}
        before = 0 if step.start else self.sums.get(step.id, 0)
        total = mine["IN"] + np.int32(before)
        self.sums[step.id] = total.item()
        info = {"id": step.id, "start": step.start, "end": step.end}
        for name, array in sorted(mine.items()):
            if name != "IN":
                [value] = array.ravel().tolist()
                value = value.decode() if isinstance(value, bytes) else value
                info[name] = f"{array.dtype.name} {list(array.shape)} {value}"
        return {"SUM": total, "INFO": np.full(mine["IN"].shape, json.dumps(info), np.object_)}
