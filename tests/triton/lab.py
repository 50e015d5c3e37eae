"""A Triton model that does what its input says, mistakes above all, and its configuration."""

LAB = '''
import gc, json, os, threading
import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL

def tensor(name, text):
    return pb_utils.Tensor(name, np.array([str(text)], np.object_))

def answer(text="done", **options):
    return pb_utils.InferenceResponse([tensor("OUT", text), pb_utils.Tensor("NUMBER", np.array([1], np.int32))], **options)

def attempt(work):
    """Does it, and tells what came of it."""
    try:
        return repr(work())
    except BaseException as error:
        return f"{type(error).__name__}: {error}"

class TritonPythonModel:
    def initialize(self, args):
        self.args = args
        self.kept = []

    def execute(self, requests):
        code = pb_utils.get_input_tensor_by_name(requests[0], "CODE").as_numpy().ravel()[0].decode()
        body = "".join(f"    {line}\\n" for line in code.splitlines())
        space = dict(globals())
        exec(f"def run(self, requests, request):\\n{body}", space)
        # Nothing but what runs holds the requests.
        return space["run"](self, requests, requests[0])
'''

CONFIG = """
backend: "python"
input [ { name: "CODE" data_type: TYPE_STRING dims: [ 1 ] } ]
output [
  { name: "OUT" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "NUMBER" data_type: TYPE_INT32 dims: [ 1 ] }
]
"""

DECOUPLED = "model_transaction_policy { decoupled: true }"
