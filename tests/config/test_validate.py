"""Every rule of validation, with its field path and its text."""

import logging

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import (
    ConfigError,
    fill_defaults,
    ignored_fields,
    infer_backend,
    parse_config,
    parse_config_json,
    raise_if_invalid,
    validate,
)


def completed(text: str, gpu_count: int = 0) -> ModelConfig:
    config = parse_config(text, "config.pbtxt")
    infer_backend(config, "bat", ["model.py"])
    fill_defaults(config, gpu_count=gpu_count)
    return config


def problems(text: str, gpu_count: int = 0) -> list[tuple[str, str]]:
    found = validate(completed(text, gpu_count), gpu_count=gpu_count)
    return [(problem.path, problem.message) for problem in found]


def tensor(fields: str, kind: str = "input", name: str = "IN") -> str:
    return f'{kind} {{ name: "{name}" data_type: TYPE_FP32 {fields} }} '


VALID = [
    "",
    "max_batch_size: 8 " + tensor("dims: [-1, 3]") + tensor("dims: 3", "output", "OUT"),
    tensor("dims: [3, 4, 4] format: FORMAT_NCHW optional: true"),
    "max_batch_size: 8 dynamic_batching { preferred_batch_size: [1, 8] max_queue_delay_microseconds: 100 "
    "default_queue_policy { timeout_action: DELAY max_queue_size: 3 } }",
    "dynamic_batching {}",
    'backend: "third_party" platform: "its_own"',
    "model_transaction_policy { decoupled: false } response_cache { enable: false }",
    tensor("dims: 3", "output")
    + 'output { name: "L" data_type: TYPE_STRING dims: 1 label_filename: "a/labels.txt" }',
    "optimization { graph { level: 1 } priority: PRIORITY_MAX cuda { graphs: true } }",
    "version_policy { specific { versions: [1, 7] } }",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_configurations(text: str) -> None:
    assert problems(text) == []


DIMENSION = "dimension must be integer >= 1, or -1 to indicate a variable-size dimension for bat"

INVALID = [
    ("max_batch_size: -1", "max_batch_size", "'max_batch_size' must be non-negative value for bat"),
    (
        'platform: "ensembel"',
        "platform",
        "unexpected platform type 'ensembel' for bat",
    ),
    (
        'backend: "python" platform: "onnxruntime_onnx"',
        "platform",
        "unexpected 'platform' and 'backend' pair, got:onnxruntime_onnx, python",
    ),
    (
        'backend: "python" platform: "other"',
        "platform",
        "unexpected 'platform' and 'backend' pair, got:other, python",
    ),
    (
        "max_batch_size: 4 dynamic_batching { preferred_batch_size: [4, 0] }",
        "dynamic_batching.preferred_batch_size[1]",
        "dynamic batching preferred size must be positive for bat",
    ),
    (
        "max_batch_size: 4 dynamic_batching { preferred_batch_size: 5 }",
        "dynamic_batching.preferred_batch_size[0]",
        "dynamic batching preferred size must be <= max batch size for bat",
    ),
    (
        "dynamic_batching { preferred_batch_size: 1 }",
        "dynamic_batching.preferred_batch_size[0]",
        "dynamic batching preferred size must be <= max batch size for bat",
    ),
    (
        "version_policy { specific { versions: [1, -2] } }",
        "version_policy.specific.versions[1]",
        "version must be a positive integer, got -2",
    ),
    ("input { data_type: TYPE_FP32 dims: 1 }", "input[0].name", "model input must specify 'name' for bat"),
    ("output { data_type: TYPE_FP32 dims: 1 }", "output[0].name", "model output must specify 'name' for bat"),
    (
        'input { name: "IN" dims: 1 }',
        "input[0].data_type",
        "model input 'IN' must specify 'data_type' for bat",
    ),
    (tensor(""), "input[0].dims", "model input 'IN' must specify 'dims' for bat"),
    (tensor("", "output", "OUT"), "output[0].dims", "model output 'OUT' must specify 'dims' for bat"),
    (tensor("dims: [2, 0]"), "input[0].dims[1]", f"model input 'IN' {DIMENSION}, got 0"),
    (tensor("dims: -2", "output", "OUT"), "output[0].dims[0]", f"model output 'OUT' {DIMENSION}, got -2"),
    (
        tensor("dims: [2] reshape { shape: [0] }"),
        "input[0].reshape.shape[0]",
        f"model input 'IN' reshape {DIMENSION}, got 0",
    ),
    (
        tensor("dims: [1] reshape {}"),
        "input[0].reshape",
        "model input 'IN' cannot have empty reshape for non-batching model as scalar tensors are not "
        "supported for bat",
    ),
    (
        tensor("dims: [3, 4] format: FORMAT_NHWC"),
        "input[0].format",
        "model input NHWC/NCHW require 3 dims for bat",
    ),
    (tensor("dims: 1") + tensor("dims: 2"), "input[1].name", "input 'IN' is declared 2 times"),
    (
        "instance_group { kind: KIND_GPU }",
        "instance_group[0].kind",
        "instance group bat_0 of model bat has kind KIND_GPU but no GPUs are available",
    ),
    (
        "instance_group { kind: KIND_CPU gpus: [0] }",
        "instance_group[0].gpus",
        "instance group bat_0 of model bat has kind KIND_CPU but specifies one or more GPUs",
    ),
    (
        "instance_group { count: -1 }",
        "instance_group[0].count",
        "instance group bat_0 of model bat must have a positive count, got -1",
    ),
]


@pytest.mark.parametrize(("text", "path", "message"), INVALID)
def test_invalid_configurations(text: str, path: str, message: str) -> None:
    assert problems(text) == [(path, message)]


@pytest.mark.parametrize(
    ("dims", "shape", "wrong"),
    [
        ("[2, 4, -1, 6]", "[8, -1, 1, 6]", None),
        ("[1]", "[]", None),
        ("[1, 1]", "[]", None),
        ("[4]", "[2, 2]", None),
        ("[-1]", "[-1]", None),
        ("[2]", "[]", "has different size for dims and reshape for bat"),
        ("[4]", "[3]", "has different size for dims and reshape for bat"),
        ("[-1]", "[1]", "has different size for dims and reshape for bat"),
        ("[-1, 2]", "[2, -1]", "has different size for dims and reshape for bat"),
        ("[-1, -1]", "[-1]", "has different number of variable-size dimensions for dims and reshape for bat"),
    ],
)
def test_reshape(dims: str, shape: str, wrong: str | None) -> None:
    found = problems("max_batch_size: 4 " + tensor(f"dims: {dims} reshape {{ shape: {shape} }}"))
    assert found == ([("input[0].reshape", f"model input 'IN' {wrong}")] if wrong else [])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sequence_batching {}", "sequence_batching"),
        ('platform: "ensemble" ensemble_scheduling {}', "ensemble_scheduling"),
        ('platform: "ensemble"', "platform"),
        ("batch_input {}", "batch_input"),
        ("batch_output {}", "batch_output"),
        (tensor("dims: -1 allow_ragged_batch: true"), "input[0].allow_ragged_batch"),
        (tensor("dims: 1 is_shape_tensor: true"), "input[0].is_shape_tensor"),
        (tensor("dims: 1 is_shape_tensor: true", "output"), "output[0].is_shape_tensor"),
        ("response_cache { enable: true }", "response_cache.enable"),
        ("dynamic_batching { priority_levels: 2 }", "dynamic_batching.priority_levels"),
        ("dynamic_batching { preserve_ordering: true }", "dynamic_batching.preserve_ordering"),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value {} } }",
            "dynamic_batching.priority_queue_policy",
        ),
        ('model_repository_agents { agents { name: "checksum" } }', "model_repository_agents"),
        ("instance_group { rate_limiter { priority: 1 } }", "instance_group[0].rate_limiter"),
        ("instance_group { kind: KIND_MODEL }", "instance_group[0].kind"),
        ("instance_group { passive: true }", "instance_group[0].passive"),
        ("instance_group { secondary_devices { device_id: 1 } }", "instance_group[0].secondary_devices"),
    ],
)
def test_features_that_are_not_served_are_refused(text: str, path: str) -> None:
    assert problems(text) == [(path, "not supported yet")]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../other/1/model.onnx", "a/../../b", "..\\\\b", "C:\\\\b", "a\\0b"]
)
def test_files_stay_inside_the_model_directory(name: str) -> None:
    text = f'default_model_filename: "{name}" backend: "python" '
    labelled = text + f'output {{ name: "OUT" data_type: TYPE_FP32 dims: 1 label_filename: "{name}" }}'
    assert [path for path, _ in problems(labelled)] == ["default_model_filename", "output[0].label_filename"]


def test_gpu_numbers_are_those_of_the_server() -> None:
    found = problems("instance_group { kind: KIND_GPU gpus: [0, 2, -1] }", gpu_count=2)
    assert [path for path, _ in found] == ["instance_group[0].gpus[1]", "instance_group[0].gpus[2]"]
    assert found[0][1] == (
        "instance group bat_0 of model bat specifies invalid or unsupported gpu id 2. "
        "GPUs of this server: 0, 1"
    )
    assert problems("instance_group { kind: KIND_GPU }", gpu_count=2) == []


def test_numbers_outside_an_enum_are_refused() -> None:
    config = parse_config_json(
        '{"backend": "x", "instance_group": [{"kind": 9}], '
        '"input": [{"name": "a", "data_type": 77, "dims": [1]}]}'
    )
    fill_defaults(config, gpu_count=0)
    found = validate(config, gpu_count=0)
    assert [problem.path for problem in found] == ["input[0].data_type", "instance_group[0].kind"]


def test_neither_backend_nor_platform() -> None:
    config = ModelConfig(name="bat")
    assert [str(problem) for problem in validate(config, gpu_count=0)] == [
        "backend: must specify 'platform' or 'backend' for 'bat'"
    ]


FIVE_MISTAKES = """
name: "cat"
max_batch_size: -2
input { name: "IN" dims: [0] }
output { name: "OUT" data_type: TYPE_FP32 dims: 1 label_filename: "../labels" }
"""


def test_all_problems_are_raised_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        raise_if_invalid(completed(FIVE_MISTAKES), gpu_count=0, directory_name="bat")
    assert [line.split(": ")[0] for line in caught.value.message.splitlines()] == [
        "name",
        "max_batch_size",
        "input[0].data_type",
        "input[0].dims[0]",
        "output[0].label_filename",
    ]
    assert caught.value.message.startswith(
        "name: unexpected directory name 'bat' for model 'cat', directory name must equal model name\n"
    )


def test_fields_without_effect_are_accepted_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    text = 'runtime: "x.so" model_warmup { name: "w" } instance_group { profile: "1" host_policy: "p" }'
    config = completed(text)
    assert [ignored.path for ignored in ignored_fields(config)] == [
        *("runtime", "model_warmup"),
        *("instance_group[0].profile", "instance_group[0].host_policy"),
    ]
    with caplog.at_level(logging.WARNING, logger="kserve_v2.config"):
        raise_if_invalid(config, gpu_count=0, directory_name="bat")
    assert caplog.messages[0] == "model 'bat': runtime is set but has no effect"
    assert len(caplog.messages) == 4
