"""What the test models compute, in numpy alone. The files of every server call these functions.

Copied beside them, so it imports nothing of the suite. A behaviour is named as in the suite's catalogue.
"""

import json
import time

import numpy as np

ANSWERED_PARAMETERS = {"answer_text": "as told", "answer_count": 3, "answer_flag": True}


def respond(behaviour, inputs, version, parameters):
    """The outputs, by name, for the inputs of one request."""
    return COMPUTATIONS[behaviour](inputs, version, parameters)


def stream(behaviour, inputs):
    """The outputs, by name, of each response to one request of a decoupled model."""
    return STREAMS[behaviour](inputs)


def seconds_to_wait(inputs):
    """How long a model that waits is told to wait."""
    return int(inputs["INPUT0"].max()) / 1000


def _identity(inputs, version, parameters):
    """As every model, it takes its inputs by their names: one that was sent under another name is missing."""
    return {f"OUTPUT{index}": inputs[f"INPUT{index}"] for index in range(len(inputs))}


def _add_sub(inputs, version, parameters):
    with np.errstate(over="ignore", invalid="ignore"):
        return {
            "OUTPUT0": inputs["INPUT0"] + inputs["INPUT1"],
            "OUTPUT1": inputs["INPUT0"] - inputs["INPUT1"],
        }


def _add_version(inputs, version, parameters):
    return {"OUTPUT0": inputs["INPUT0"] + np.int32(100 * version)}


def _add_optional(inputs, version, parameters):
    first = inputs["INPUT0"]
    return {"OUTPUT0": first + inputs["INPUT1"] if "INPUT1" in inputs else first}


def _length(inputs, version, parameters):
    lengths = [len(_as_bytes(element)) for element in inputs["INPUT0"].ravel()]
    return {"OUTPUT0": np.array(lengths, np.int32).reshape(inputs["INPUT0"].shape)}


def _concatenate(inputs, version, parameters):
    return {"OUTPUT0": _elementwise(lambda a, b: a + b, inputs["INPUT0"], inputs["INPUT1"])}


def _echo_parameters(inputs, version, parameters):
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return {"OUTPUT0": np.array([text.encode()], np.object_)}


def _fail(inputs, version, parameters):
    raise RuntimeError("told to fail")


def _wait(inputs, version, parameters):
    time.sleep(seconds_to_wait(inputs))
    return {"OUTPUT0": inputs["INPUT0"]}


def _upper(inputs, version, parameters):
    return {"text_output": _elementwise(bytes.upper, inputs["text_input"])}


def _repeat(inputs):
    for index in range(int(inputs["COUNT"].max())):
        yield {"OUTPUT0": inputs["INPUT0"], "INDEX": np.array([index], np.int32)}


def _repeat_text(inputs):
    for _ in range(int(inputs["count"].max())):
        yield {"text_output": inputs["text_input"]}


def _fail_text(inputs):
    yield from _repeat_text(inputs)
    raise RuntimeError("told to fail")


def _elementwise(function, *tensors):
    """Apply `function` to the elements of BYTES tensors of one shape."""
    results = np.empty(tensors[0].size, np.object_)
    for index, elements in enumerate(zip(*(tensor.ravel() for tensor in tensors), strict=True)):
        results[index] = function(*(_as_bytes(element) for element in elements))
    return results.reshape(tensors[0].shape)


def _as_bytes(element):
    return element.encode() if isinstance(element, str) else bytes(element)


COMPUTATIONS = {
    "ANSWER_PARAMETERS": _identity,
    "IDENTITY": _identity,
    "ADD_SUB": _add_sub,
    "ADD_VERSION": _add_version,
    "ADD_OPTIONAL": _add_optional,
    "LENGTH": _length,
    "CONCATENATE": _concatenate,
    "ECHO_PARAMETERS": _echo_parameters,
    "FAIL": _fail,
    "WAIT": _wait,
    "UPPER": _upper,
}
STREAMS = {"REPEAT": _repeat, "REPEAT_TEXT": _repeat_text, "FAIL_TEXT": _fail_text}
