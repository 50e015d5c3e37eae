"""A bare loop over an ONNX Runtime session: `python -m benchmarks.yardsticks.onnx_loop MODEL_FILE SECONDS [ROWS]`.

One input, float32; ROWS is its first dimension where the model leaves it open. Prints executions per second.
"""

import sys
import time

import numpy as np

from benchmarks.yardsticks.session import one_thread_session

_WARM_UP_RUNS = 5


def executions_per_second(model_file: str, seconds: float, rows: int) -> float:
    """Run the model in a loop for `seconds`."""
    session = one_thread_session(model_file)
    (tensor,) = session.get_inputs()
    feed = {
        tensor.name: np.zeros(
            [rows if isinstance(size, str) else size for size in tensor.shape], dtype=np.float32
        )
    }
    for _ in range(_WARM_UP_RUNS):
        session.run(None, feed)
    runs, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        session.run(None, feed)
        runs += 1
    return runs / (time.perf_counter() - start)


if __name__ == "__main__":
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    print(executions_per_second(sys.argv[1], float(sys.argv[2]), rows))
