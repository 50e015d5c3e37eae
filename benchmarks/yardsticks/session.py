"""ONNX Runtime as the server has it in the benchmarks: on the CPU, with one thread."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as in the server, and before the import

import onnxruntime as ort


def one_thread_session(path: str) -> ort.InferenceSession:
    """A session of the model at `path`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
