"""Makes of a scanned digit what the digits models read: the first step of the ensemble `digits_scan`."""

import numpy as np

from kserve_v2 import InvalidArgumentError

SIDE = 8


class Model:
    """The handler: scans [n, height, width], 0 for ink to 255 for paper, to images [n, 1, 8, 8], 0 paper to 1 ink."""

    inputs = {"scan": ("UINT8", [-1, -1])}
    outputs = {"image": ("FP32", [1, SIDE, SIDE])}
    max_batch_size = 64

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every pixel of the image is the mean of its part of the scan."""
        scan = inputs["scan"]
        height, width = scan.shape[1:]
        if min(height, width) < SIDE:
            raise InvalidArgumentError(
                f"input 'scan': expected at least {SIDE} x {SIDE} pixels, got {height} x {width}"
            )
        tops, lefts = (np.arange(SIDE) * size // SIDE for size in (height, width))
        sums = np.add.reduceat(np.add.reduceat(scan, tops, axis=1, dtype=np.float32), lefts, axis=2)
        pixels = np.outer(np.diff(tops, append=height), np.diff(lefts, append=width))
        image = 1 - sums / (255 * pixels)
        return {"image": image.astype(np.float32)[:, None]}
