"""Models that leave the padding out, and models that do not."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.config.padding import padding_of
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.scheduling.executing.batching_trial import Finding, Verdict
from kserve_v2.scheduling.executing.padding_trial import try_padding
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array

CONFIG = """
  name: "m" max_batch_size: 8
  input { name: "x" data_type: TYPE_FP32 dims: -1 }
  output { name: "y" data_type: TYPE_FP32 dims: -1 }
  parameters { key: "pad_variable_dims" value { string_value:
    '{"inputs": {"x": 9}, "masks": {"mask": {"input": "x", "data_type": "FP32"}}, "outputs": {"y": "x"}}' } }
"""
Forward = Callable[[Mapping[str, Array]], Array]


class Instance:
    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.calls = 0

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        self.calls += 1
        return {"y": self.forward(tensors)}

    def close(self) -> None:
        pass


def tried(forward: Forward, clock: Callable[[], float] = lambda: 0.0) -> Finding:
    config = text_format.Parse(CONFIG, ModelConfig())
    signature, padding = ModelSignature(config), padding_of(config)
    assert padding is not None
    return try_padding(Instance(forward), PaddedMerger(signature, padding), signature, clock)


def masked(tensors: Mapping[str, Array]) -> Array:
    x, mask = tensors["x"], tensors["mask"]
    mean: Array = x - (x * mask).sum(axis=1, keepdims=True) / mask.sum(axis=1, keepdims=True)
    return mean


def unmasked(tensors: Mapping[str, Array]) -> Array:
    x = tensors["x"]
    mean: Array = x - x.mean(axis=1, keepdims=True)
    return mean


def writing(tensors: Mapping[str, Array]) -> Array:
    tensors["x"][...] *= 2
    return tensors["x"].copy()


def failing(tensors: Mapping[str, Array]) -> Array:
    raise ValueError("no words")


def only_long(tensors: Mapping[str, Array]) -> Array:
    if tensors["x"].shape[1] < 16:
        raise ValueError("too short")
    return masked(tensors)


@pytest.mark.parametrize("forward", [masked, writing, only_long])
def test_who_leaves_the_padding_out_is_believed(forward: Forward) -> None:
    assert tried(forward) == Finding(Verdict.INDEPENDENT)


def test_who_does_not_is_found_out() -> None:
    found = tried(unmasked)
    assert found.verdict is Verdict.DEPENDENT
    assert found.reason == (
        "output 'y' of a request is another one when it is padded beside a longer one; the model has to leave the "
        "padding out, by lengths or by a mask"
    )


def test_an_output_of_another_length_is_found_out() -> None:
    found = tried(lambda tensors: tensors["x"][:, 1:])
    assert found.verdict is Verdict.DEPENDENT
    assert (
        "has size 7 in dimension 0, but input 'x', which it follows by pad_variable_dims, has 8"
        in found.reason
    )


def test_what_a_model_does_not_take_is_no_verdict() -> None:
    found = tried(failing)
    assert (found.verdict, found.reason) == (
        Verdict.UNKNOWN,
        "it does not take made-up inputs: ValueError: no words",
    )


def test_a_slow_model_is_not_tried_to_the_end() -> None:
    times = iter(np.arange(0, 1000, 15).tolist())
    found = tried(masked, lambda: next(times))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "it was not tried for longer than 20 s")
