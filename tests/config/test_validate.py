"""Every rule of validation, with its field path and its text."""

import logging

import pytest
from google.protobuf import text_format

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
    written_problems,
)
from kserve_v2.config.support import batching_of_streams


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
    "max_batch_size: 8 dynamic_batching { priority_levels: 3 default_priority_level: 3 priority_queue_policy { key: 1 "
    "value { max_queue_size: 1 } } default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 9 } }",
    "dynamic_batching { preserve_ordering: true priority_levels: 1 default_priority_level: 1 default_queue_policy { "
    "timeout_action: DELAY } priority_queue_policy { key: 1 value { default_timeout_microseconds: 1 } } }",
    'instance_group { rate_limiter { priority: 2 resources [ { name: "R" global: true count: 1 }, { name: "S" } ] } } '
    'instance_group { rate_limiter { resources { name: "R" global: true count: 2 } } }',
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
    (
        'backend: "python" model_transaction_policy { decoupled: true } response_cache { enable: true }',
        "response_cache.enable",
        "Response Cache does not currently support model bat with 'decoupled' transaction policy. Please disable the "
        "response cache.",
    ),
    (
        'backend: "python" max_batch_size: 2 sequence_batching { } response_cache { enable: true }',
        "response_cache.enable",
        "Response Cache does not currently support model bat with sequence batching scheduler. Please disable the "
        "response cache.",
    ),
    (
        'parameters { key: "coalesce_requests" value { string_value: "no" } } response_cache { enable: true }',
        "parameters['coalesce_requests']",
        "expected 'true' or 'false' as string_value, got 'no'",
    ),
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
        "dynamic_batching { priority_levels: 2 }",
        "dynamic_batching.default_priority_level",
        "default priority level must be in range [1, 2] for bat",
    ),
    (
        "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
        "dynamic_batching.default_priority_level",
        "default priority level must be in range [1, 2] for bat",
    ),
    (
        "dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 0 value {} } }",
        "dynamic_batching.priority_queue_policy['0']",
        "priority queue policy must have priority level in range [1, 2] for bat",
    ),
    (
        "dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value {} } }",
        "dynamic_batching.priority_queue_policy['3']",
        "priority queue policy must have priority level in range [1, 2] for bat",
    ),
    (
        "dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }",
        "dynamic_batching.priority_levels",
        "Only one priority level is allowed when 'preserve_ordering' is true for bat",
    ),
    (
        "dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY "
        "default_timeout_microseconds: 1 } }",
        "dynamic_batching.default_queue_policy.timeout_action",
        "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for bat",
    ),
    (
        "dynamic_batching { preserve_ordering: true priority_levels: 1 default_priority_level: 1 priority_queue_policy "
        "{ key: 1 value { timeout_action: DELAY default_timeout_microseconds: 1 } } }",
        "dynamic_batching.priority_queue_policy['1'].timeout_action",
        "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for bat",
    ),
    (
        "instance_group { rate_limiter { resources { count: 1 } } }",
        "instance_group[0].rate_limiter.resources[0].name",
        "a resource must have a name in instance group bat_0",
    ),
    (
        'instance_group { rate_limiter { resources [ { name: "R" }, { name: "S" }, { name: "R" } ] } }',
        "instance_group[0].rate_limiter.resources[2].name",
        "resource 'R' is listed twice in instance group bat_0",
    ),
    (
        'instance_group { rate_limiter { resources { name: "R" count: 1 } } } '
        'instance_group { rate_limiter { resources { name: "R" global: true count: 1 } } }',
        "instance_group[1].rate_limiter.resources[0].global",
        'Resource "R" is present as both global and device-specific resource in the model configuration.',
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
        (tensor("dims: 1 is_shape_tensor: true"), "input[0].is_shape_tensor"),
        (tensor("dims: 1 is_shape_tensor: true", "output"), "output[0].is_shape_tensor"),
        ('model_repository_agents { agents { name: "checksum" } }', "model_repository_agents.agents"),
        ('runtime: "x.so"', "runtime"),
        ('cc_model_filenames { key: "7.5" value: "model_t4.py" }', "cc_model_filenames"),
        (tensor("dims: 1 is_non_linear_format_io: true"), "input[0].is_non_linear_format_io"),
        (
            'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "x.so" } }',
            "parameters['TRITON_BATCH_STRATEGY_PATH']",
        ),
        ("instance_group { kind: KIND_MODEL }", "instance_group[0].kind"),
        ("instance_group { passive: true }", "instance_group[0].passive"),
        ("instance_group { secondary_devices { device_id: 1 } }", "instance_group[0].secondary_devices"),
    ],
)
def test_features_that_are_not_served_are_refused(text: str, path: str) -> None:
    [(found, message)] = problems(text)
    assert found == path
    assert message.startswith("not supported yet: ")


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
    text = 'parameters { key: "coalesce_requests" value { string_value: "false" } } instance_group { profile: "1" host_policy: "p" }'
    config = completed(text)
    assert [ignored.path for ignored in ignored_fields(config)] == [
        *("instance_group[0].profile", "instance_group[0].host_policy"),
        "parameters['coalesce_requests']",
    ]
    with caplog.at_level(logging.WARNING, logger="kserve_v2.config"):
        raise_if_invalid(config, gpu_count=0, directory_name="bat")
    assert len(caplog.messages) == 3


DELAY = "dynamic_batching { max_queue_delay_microseconds: 100 }"


def test_a_delay_for_batches_that_are_never_formed_is_a_warning() -> None:
    assert [str(found) for found in ignored_fields(completed(DELAY))] == [
        "dynamic_batching.max_queue_delay_microseconds: is set but has no effect: max_batch_size is 0"
    ]
    assert ignored_fields(completed(f"max_batch_size: 4 {DELAY}")) == []


QUEUEING_WITHOUT_EFFECT = [
    ("default_priority_level: 1", "default_priority_level", "priority_levels is 0"),
    ("priority_queue_policy { key: 1 value {} }", "priority_queue_policy", "priority_levels is 0"),
    (
        "preserve_ordering: true default_queue_policy { timeout_action: DELAY allow_timeout_override: true }",
        "default_queue_policy.allow_timeout_override",
        "with preserve_ordering no request is delayed",
    ),
    (
        "default_queue_policy { timeout_action: DELAY allow_timeout_override: true }",
        "",
        "",
    ),
    (
        "default_queue_policy { timeout_action: DELAY }",
        "default_queue_policy.timeout_action",
        "no request has a time-out: set default_timeout_microseconds or allow_timeout_override",
    ),
    (
        "preserve_ordering: true default_queue_policy { allow_timeout_override: true }",
        "",
        "",
    ),
]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("preferred_batch_size: 2", ["preferred_batch_size"]),
        ("max_queue_delay_microseconds: 100", ["max_queue_delay_microseconds"]),
        ("", []),
    ],
)
def test_batches_of_a_decoupled_model_that_takes_one_request_at_a_time(text: str, fields: list[str]) -> None:
    """Whether it does, only the loaded model says."""
    config = completed(
        f"max_batch_size: 4 model_transaction_policy {{ decoupled: true }} dynamic_batching {{ {text} }}"
    )
    assert ignored_fields(config) == []
    assert [str(found) for found in batching_of_streams(config)] == [
        f"dynamic_batching.{field}: is set but has no effect: the model is decoupled" for field in fields
    ]


_START = (
    'control_input { name: "S" control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] %s } }'
)


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (
            "direct { max_queue_delay_microseconds: 5 }",
            "direct.max_queue_delay_microseconds",
            "minimum_slot_utilization",
        ),
        (
            "direct { minimum_slot_utilization: 1 }",
            "direct.minimum_slot_utilization",
            "max_queue_delay_microseconds",
        ),
        ("direct { minimum_slot_utilization: 1 max_queue_delay_microseconds: 5 }", "", ""),
        ("oldest { max_queue_delay_microseconds: 5 }", "", ""),
        (_START % "data_type: TYPE_INT32", "control_input[0].control[0].data_type", "CORRID"),
        (_START % "", "", ""),
    ],
)
def test_what_has_no_effect_on_sequences_is_a_warning(text: str, field: str, reason: str) -> None:
    found = ignored_fields(completed(f"max_batch_size: 4 sequence_batching {{ {text} }}"))
    assert [each.path for each in found] == ([f"sequence_batching.{field}"] if field else [])
    assert all(reason in each.message for each in found)


@pytest.mark.parametrize(
    "more", ["max_batch_size: 0", "max_batch_size: 4 model_transaction_policy { decoupled: true }"]
)
@pytest.mark.parametrize("strategy", ["direct", "oldest"])
def test_a_delay_for_sequences_that_share_no_batches_is_a_warning(more: str, strategy: str) -> None:
    text = f"{more} sequence_batching {{ {strategy} {{ max_queue_delay_microseconds: 5 }} }}"
    [found] = ignored_fields(completed(text))
    assert found.path == f"sequence_batching.{strategy}.max_queue_delay_microseconds"


@pytest.mark.parametrize(("text", "field", "reason"), QUEUEING_WITHOUT_EFFECT)
def test_what_has_no_effect_without_another_field_is_a_warning(text: str, field: str, reason: str) -> None:
    found = [str(each) for each in ignored_fields(completed(f"dynamic_batching {{ {text} }}"))]
    expected = f"dynamic_batching.{field}: is set but has no effect: {reason}"
    assert found == ([expected] if field else [])


@pytest.mark.parametrize(
    "text",
    [
        "dynamic_batching { preferred_batch_size: 4 }",
        tensor("dims: [1] reshape {}"),
        'input { name: "IN" }',
        'output { name: "OUT" format: FORMAT_NCHW }'.replace("output", "input"),
    ],
)
def test_what_the_model_s_file_may_still_say_is_no_mistake_of_what_was_written(text: str) -> None:
    assert problems(text) != []
    assert written_problems(parse_config(f'backend: "python" {text}', "c"), gpu_count=0) == []


def test_what_was_written_is_checked_without_being_changed() -> None:
    config = parse_config(f'backend: "python" {FIVE_MISTAKES}', "c")
    before = config.SerializeToString(deterministic=True)
    found = [problem.path for problem in written_problems(config, gpu_count=0, directory_name="bat")]
    assert found == ["name", "max_batch_size", "input[0].dims[0]", "output[0].label_filename"]
    assert config.SerializeToString(deterministic=True) == before


HOUR = 3_600_000_000

ABSURD = [
    ("instance_group { count: 30000 }", "instance_group[0].count", "1024"),
    ("instance_group { count: 1024 } instance_group { count: 1 }", "instance_group[1].count", "1024"),
    (f"max_batch_size: 1 dynamic_batching {{ max_queue_delay_microseconds: {2**64 - 1} }}",
     "dynamic_batching.max_queue_delay_microseconds", str(HOUR)),
    (f"dynamic_batching {{ default_queue_policy {{ default_timeout_microseconds: {2**63} }} }}",
     "dynamic_batching.default_queue_policy.default_timeout_microseconds", "0 stands for no time-out"),
    ("dynamic_batching { default_priority_level: 1 priority_queue_policy { key: 1 value { "
     f"default_timeout_microseconds: {2**63} }} }} priority_levels: 1 }}",
     "dynamic_batching.priority_queue_policy['1'].default_timeout_microseconds", "0 stands for no time-out"),
    (f"dynamic_batching {{ priority_levels: {2**64 - 1} default_priority_level: 1 }}",
     "dynamic_batching.priority_levels", "1024"),
    ("max_batch_size: 2147483647", "max_batch_size", str(2**24)),
    (f"max_batch_size: 4 dynamic_batching {{ preferred_batch_size: {2**31 - 1} }}",
     "dynamic_batching.preferred_batch_size[0]", "max batch size"),
    (tensor("dims: [4294967296, 4294967296, -1]"), "input[0].dims", str(2**40)),
    (tensor(f"dims: {2**63 - 1}", "output", "OUT"), "output[0].dims", str(2**40)),
    (tensor(f"dims: {[1] * 33}"), "input[0].dims", "32 dimensions"),
    ("max_batch_size: 1 " + tensor(f"dims: {[1] * 32}"), "input[0].dims", "31 dimensions"),
    (tensor(f"dims: 1 reshape {{ shape: {[1] * 33} }}"), "input[0].reshape.shape", "32 dimensions"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "limit"), ABSURD)
def test_numbers_beyond_all_use_are_refused_with_the_limit(text: str, path: str, limit: str) -> None:
    [(found, message)] = problems(text)
    assert found == path
    assert limit in message


@pytest.mark.parametrize(
    "text",
    [
        "instance_group { count: 1023 } instance_group { count: 1 }",
        f"max_batch_size: 1 dynamic_batching {{ max_queue_delay_microseconds: {HOUR} }}",
        f"max_batch_size: {2**24}",
        tensor(f"dims: [{2**20}, {2**20}, -1]") + tensor(f"dims: {[1] * 32}", "output"),
        f"dynamic_batching {{ default_queue_policy {{ max_queue_size: {2**32 - 1} }} }}",
    ],
)
def test_large_numbers_are_served(text: str) -> None:
    assert problems(text) == []


def test_gpus_multiply_the_instances() -> None:
    text = "instance_group { count: 600 kind: KIND_GPU gpus: [0, 1] }"
    assert [path for path, _ in problems(text, gpu_count=2)] == ["instance_group[0].count"]
    assert problems(text.replace("600", "512"), gpu_count=2) == []


def test_a_gpu_is_named_once() -> None:
    assert problems("instance_group { kind: KIND_GPU gpus: [0, 0] }", gpu_count=1) == [
        ("instance_group[0].gpus[1]", "instance group bat_0 of model bat specifies gpu id 0 twice")
    ]


@pytest.mark.parametrize(
    "name", ["", "1st", "my-tag", "with space", "a:b", "__name__", "größe", 'a"b', "a\\nb"]
)
def test_tags_that_prometheus_cannot_read_are_refused(name: str) -> None:
    config = completed("")
    config.metric_tags[name] = "x"
    [problem] = validate(config, gpu_count=0)
    assert problem.path == f"metric_tags['{name}']"
    assert "Prometheus" in problem.message


@pytest.mark.parametrize("name", ["model", "version", "reason", "le", "gpu_uuid"])
def test_tags_do_not_replace_the_server_s_own_labels(name: str) -> None:
    assert problems(f'metric_tags {{ key: "{name}" value: "x" }}') == [
        (f"metric_tags['{name}']", "is a label that the server sets itself")
    ]
    assert problems('metric_tags { key: "_team9" value: "\\"a\\" \\\\ b\\n" }') == []


def test_an_entry_without_a_key_is_refused() -> None:
    [(path, message)] = problems('parameters { value { string_value: "1" } }')
    assert path == "parameters"
    assert "key" in message


@pytest.mark.parametrize("name", ["try_batching", "split_large_requests"])
@pytest.mark.parametrize(
    ("value", "more", "text"),
    [
        ("yes", "max_batch_size: 4", "expected 'true' or 'false' as string_value, got 'yes'"),
        ("", "max_batch_size: 4", "expected 'true' or 'false' as string_value, got ''"),
        ("true", "", "there are no batches: max_batch_size is 0"),
        (
            "true",
            "model_transaction_policy { decoupled: true }",
            "there are no batches: the model is decoupled",
        ),
        ("true", "max_batch_size: 4", None),
        ("false", "", None),
    ],
)
def test_switches_of_the_servers_own(name: str, value: str, more: str, text: str | None) -> None:
    entry = f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}'
    found = [
        problem.message
        for problem in validate(text_format.Parse(f"{entry} {more}", ModelConfig()), gpu_count=0)
        if problem.path == f"parameters['{name}']"
    ]
    assert found == ([] if text is None else [text])
