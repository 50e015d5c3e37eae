"""What is wrong with `latency_budget_ms`."""

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import fill_defaults, ignored_fields, infer_backend, parse_config, validate
from kserve_v2.config.latency_budget import latency_budget_ns

PATH = "parameters['latency_budget_ms']"
BATCHING = "max_batch_size: 8 dynamic_batching { }"


def config_of(text: str, budget: str = "20") -> ModelConfig:
    tensors = (
        'input { name: "X" data_type: TYPE_FP32 dims: 1 } output { name: "Y" data_type: TYPE_FP32 dims: 1 }'
    )
    parameter = f'parameters {{ key: "latency_budget_ms" value {{ string_value: "{budget}" }} }}'
    config = parse_config(f'backend: "onnxruntime" {tensors} {parameter} {text}', "config.pbtxt")
    infer_backend(config, "m", ["model.onnx"])
    fill_defaults(config, gpu_count=0)
    return config


@pytest.mark.parametrize(
    ("budget", "ns"), [("20", 20_000_000), ("0.5", 500_000), ("3600000", 3_600_000_000_000)]
)
def test_a_budget_is_read(budget: str, ns: int) -> None:
    config = config_of(BATCHING, budget)
    assert validate(config, gpu_count=0) == []
    assert ignored_fields(config) == []
    assert latency_budget_ns(config) == ns


def test_there_need_not_be_one() -> None:
    assert latency_budget_ns(ModelConfig()) == 0


@pytest.mark.parametrize("budget", ["", "soon", "0", "-1", "nan", "inf", "3600001"])
def test_what_is_no_budget_is_refused(budget: str) -> None:
    [problem] = validate(config_of(BATCHING, budget), gpu_count=0)
    assert str(problem) == (
        f"{PATH}: expected milliseconds as string_value, more than 0 and at most 3600000, got '{budget}'"
    )


@pytest.mark.parametrize(
    ("text", "message", "incomplete"),
    [
        (
            "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 100 }",
            "the server chooses the delay itself, but max_queue_delay_microseconds is 100: leave one of them out",
            False,
        ),
        ("", "there are no batches: max_batch_size is 0", True),
        ("max_batch_size: 1 dynamic_batching { }", "there are no batches: max_batch_size is 1", False),
        ("max_batch_size: 8", "there are no batches: write dynamic_batching { }", True),
        ("max_batch_size: 8 sequence_batching { }", "it is for dynamic_batching, not for sequence_batching", False),
        (BATCHING + " model_transaction_policy { decoupled: true }",
         "there are no batches: the model is decoupled", False),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(text: str, message: str, incomplete: bool) -> None:
    found = [each for each in validate(config_of(text), gpu_count=0) if each.path == PATH]
    assert [(each.message, each.incomplete) for each in found] == [(message, incomplete)]
