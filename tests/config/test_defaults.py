"""What the server fills in, and the JSON that shows it. Known answers: Triton's."""

import json

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.config import config_to_dict, fill_defaults, infer_backend, parse_config, validate

TENSORS = """
input { name: "IN" data_type: TYPE_FP32 dims: [3] }
output { name: "OUT" data_type: TYPE_FP32 dims: [3] }
"""

# The complete answer of Triton 2.51 for a small model of the Python backend.
COMPLETE = (
    '{"name":"bat","platform":"","backend":"python","runtime":"","version_policy":{"latest":{"num_versions":1}},'
    '"max_batch_size":4,"input":[{"name":"IN","data_type":"TYPE_FP32","format":"FORMAT_NONE","dims":[3],'
    '"is_shape_tensor":false,"allow_ragged_batch":false,"optional":false,"is_non_linear_format_io":false}],'
    '"output":[{"name":"OUT","data_type":"TYPE_FP32","dims":[3],"label_filename":"","is_shape_tensor":false,'
    '"is_non_linear_format_io":false}],"batch_input":[],"batch_output":[],"optimization":'
    '{"priority":"PRIORITY_DEFAULT","input_pinned_memory":{"enable":true},"output_pinned_memory":{"enable":true},'
    '"gather_kernel_buffer_threshold":0,"eager_batching":false},"instance_group":[{"name":"bat","kind":"KIND_CPU",'
    '"count":1,"gpus":[],"secondary_devices":[],"profile":[],"passive":false,"host_policy":""}],'
    '"default_model_filename":"model.py","cc_model_filenames":{},"metric_tags":{},"parameters":{},"model_warmup":[]}'
)


def completed(
    text: str, files: tuple[str, ...] = ("model.py",), gpu_count: int = 0, **options: bool
) -> ModelConfig:
    config = parse_config(text, "config.pbtxt")
    infer_backend(config, "bat", files)
    fill_defaults(config, gpu_count=gpu_count, **options)
    return config


def printed(text: str) -> str:
    return json.dumps(config_to_dict(completed(text)), separators=(",", ":"))


def test_the_complete_answer_for_a_small_model() -> None:
    assert printed(f"max_batch_size: 4 {TENSORS}") == COMPLETE
    assert validate(completed(f"max_batch_size: 4 {TENSORS}"), gpu_count=0) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "max_batch_size: 8 dynamic_batching {}",
            '"eager_batching":false},"dynamic_batching":{"preferred_batch_size":[8],"max_queue_delay_microseconds":0,'
            '"preserve_ordering":false,"priority_levels":0,"default_priority_level":0,"priority_queue_policy":{}},'
            '"instance_group":',
        ),
        ("dynamic_batching {}", '"dynamic_batching":{"preferred_batch_size":[],'),
        ("", '"max_batch_size":0,"input":[],"output":[]'),
        (
            "instance_group [{ count: 2 }]",
            '"instance_group":[{"name":"bat_0","kind":"KIND_CPU","count":2,"gpus":[],"secondary_devices":[],'
            '"profile":[],"passive":false,"host_policy":""}]',
        ),
        (
            'instance_group [{ rate_limiter { resources [{ name: "R1" count: 4 }] priority: 2 } }]',
            '"count":1,"rate_limiter":{"resources":[{"name":"R1","global":false,"count":4}],"priority":2},"gpus":[]',
        ),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value { max_queue_size: 2 } } }",
            '"priority_queue_policy":{"1":{"timeout_action":"REJECT","default_timeout_microseconds":0,'
            '"allow_timeout_override":false,"max_queue_size":2}}',
        ),
        (
            "version_policy { specific { versions: [1, 7] } }",
            '"version_policy":{"specific":{"versions":[1,7]}}',
        ),
        ("version_policy { all {} }", '"version_policy":{"all":{}}'),
        ("model_transaction_policy { decoupled: true }", '"model_transaction_policy":{"decoupled":true}'),
        ("response_cache { enable: true }", '"response_cache":{"enable":true}'),
        (
            'model_warmup { name: "w1" batch_size: 2 count: 2 '
            'inputs { key: "IN" value { data_type: TYPE_FP32 dims: 3 random_data: true } } }',
            '"model_warmup":[{"name":"w1","batch_size":2,"inputs":{"IN":{"data_type":"TYPE_FP32","dims":[3],'
            '"random_data":true}},"count":2}]',
        ),
        (
            'input { name: "IN" data_type: TYPE_FP32 dims: 1 reshape {} }',
            '"dims":[1],"reshape":{"shape":[]},"is_shape_tensor":false',
        ),
        (
            'parameters { key: "p1" value { string_value: "v1" } }',
            '"parameters":{"p1":{"string_value":"v1"}}',
        ),
        (
            "sequence_batching { direct { minimum_slot_utilization: 0.1 } }",
            '"direct":{"max_queue_delay_microseconds":0,"minimum_slot_utilization":0.1}',
        ),
        (
            'ensemble_scheduling { step { model_name: "ens_a" model_version: -1 } } platform: "ensemble"',
            '"batch_output":[],"ensemble_scheduling":{"step":[{"model_name":"ens_a","model_version":-1,'
            '"input_map":{},"output_map":{},"model_namespace":""}],"max_inflight_requests":0},"instance_group":[],'
            '"default_model_filename":""',
        ),
    ],
)
def test_parts_of_the_printed_configuration(text: str, part: str) -> None:
    assert part in printed(text)


def test_map_keys_are_printed_in_order() -> None:
    entries = " ".join(f'metric_tags {{ key: "{key}" value: "" }}' for key in "dacb")
    assert list(config_to_dict(parse_config(entries, "c"))["metric_tags"]) == ["a", "b", "c", "d"]


def test_an_enum_number_without_a_name_is_printed_as_a_number() -> None:
    config = ModelConfig()
    config.input.add(data_type=99)
    assert config_to_dict(config)["input"][0]["data_type"] == 99


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        ("", ["model.py"], ("python", "", "model.py")),
        ("", ["model.onnx"], ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        ("", ["model.pt"], ("pytorch", "pytorch_libtorch", "model.pt")),
        ("", ["model.pt2"], ("pytorch", "torch_aoti", "model.pt2")),
        ("", ["resnet.pt2"], ("pytorch", "torch_aoti", "resnet.pt2")),
        # As in Triton; the backend says so.
        ("", ["model.pt", "model.pt2"], ("pytorch", "pytorch_libtorch", "model.pt")),
        ('platform: "torch_aoti"', ["model.pt", "model.pt2"], ("pytorch", "torch_aoti", "model.pt2")),
        ('default_model_filename: "model.pt2"', ["model.pt"], ("pytorch", "torch_aoti", "model.pt2")),
        ("", ["model.plan"], ("tensorrt", "tensorrt_plan", "model.plan")),
        ("", ["model.xml", "model.bin"], ("openvino", "", "model.xml")),
        ("", ["model.savedmodel"], ("tensorflow", "tensorflow_savedmodel", "model.savedmodel")),
        ("", ["model.custom"], ("custom", "", "model.custom")),
        # A handler loads the model files beside it.
        ("", ["model.onnx", "model.pt", "model.py"], ("python", "", "model.py")),
        # The only model file may have any name.
        (
            "",
            ["resnet.onnx", "._resnet.onnx", "labels.txt"],
            ("onnxruntime", "onnxruntime_onnx", "resnet.onnx"),
        ),
        ("", ["resnet.pt", "helper.py"], ("pytorch", "pytorch_libtorch", "resnet.pt")),
        ("", ["a.onnx", "b.onnx"], ("", "", "")),
        ("", ["a.onnx", "b.pt"], ("", "", "")),
        ("", ["handler.py"], ("", "", "")),
        ("", [], ("", "", "")),
        ('backend: "onnxruntime"', ["net.onnx"], ("onnxruntime", "onnxruntime_onnx", "net.onnx")),
        ('backend: "onnxruntime"', [], ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        ('backend: "python"', ["model.onnx"], ("python", "", "model.py")),
        ('backend: "pytorch"', ["model.pt2"], ("pytorch", "torch_aoti", "model.pt2")),
        ('platform: "onnxruntime_onnx"', [], ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        ('platform: "pytorch_libtorch"', ["model.py"], ("pytorch", "pytorch_libtorch", "model.pt")),
        ('default_model_filename: "v2.onnx"', [], ("onnxruntime", "onnxruntime_onnx", "v2.onnx")),
        (
            'backend: "pytorch" default_model_filename: "weights.bin"',
            ["model.pt2"],
            ("pytorch", "pytorch_libtorch", "weights.bin"),
        ),
        ('backend: "mine"', ["model.mine"], ("mine", "", "model.mine")),
        ('backend: "mine"', ["model.onnx"], ("mine", "", "")),
        ('platform: "nonsense"', ["model.onnx"], ("", "nonsense", "")),
        ('name: "bat.dali"', [], ("dali", "", "")),
        ('name: "resnet-1.5"', [], ("", "", "")),
        ('platform: "ensemble"', ["model.py"], ("", "ensemble", "")),
    ],
)
def test_the_backend_is_inferred(text: str, files: list[str], expected: tuple[str, str, str]) -> None:
    config = parse_config(text, "config.pbtxt")
    infer_backend(config, "bat", files)
    assert (config.backend, config.platform, config.default_model_filename) == expected


def test_the_name_comes_from_the_directory_unless_stated() -> None:
    assert completed("").name == "bat"
    assert completed('name: "other"').name == "other"


GROUPS = [
    # configuration, GPUs, backend can use them → (name, kind, count, gpus)
    ('backend: "python"', 0, True, [("bat", "KIND_CPU", 1, [])]),
    ('backend: "python"', 2, True, [("bat", "KIND_GPU", 1, [0, 1])]),
    ('backend: "python"', 2, False, [("bat", "KIND_CPU", 1, [])]),
    ('backend: "onnxruntime"', 0, True, [("bat", "KIND_CPU", 2, [])]),
    ('backend: "onnxruntime"', 1, True, [("bat", "KIND_GPU", 1, [0])]),
    ('backend: "onnxruntime" instance_group { count: 1 }', 0, True, [("bat_0", "KIND_CPU", 1, [])]),
    (
        'instance_group [{ count: 3 kind: KIND_CPU }, { name: "g2" gpus: [1] }]',
        2,
        True,
        [("bat_0", "KIND_CPU", 3, []), ("g2", "KIND_GPU", 1, [1])],
    ),
    ("instance_group { kind: KIND_GPU }", 0, True, [("bat_0", "KIND_GPU", 1, [])]),
]


@pytest.mark.parametrize(("text", "gpu_count", "supports_gpu", "expected"), GROUPS)
def test_instance_groups_are_settled(
    text: str, gpu_count: int, supports_gpu: bool, expected: list[tuple[str, str, int, list[int]]]
) -> None:
    config = completed(text, gpu_count=gpu_count, backend_supports_gpu=supports_gpu)
    groups = [
        (group.name, ModelInstanceGroup.Kind.Name(group.kind), group.count, list(group.gpus))
        for group in config.instance_group
    ]
    assert groups == expected


def test_defaults_change_nothing_that_is_set() -> None:
    text = (
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: [2] } "
        "version_policy { latest { num_versions: 0 } } optimization { input_pinned_memory { enable: false } }"
    )
    config = completed(text)
    assert list(config.dynamic_batching.preferred_batch_size) == [2]
    assert config.version_policy.WhichOneof("policy_choice") == "latest"
    assert config.version_policy.latest.num_versions == 0
    assert not config.optimization.input_pinned_memory.enable
    assert config.optimization.output_pinned_memory.enable
    again = ModelConfig.FromString(config.SerializeToString())
    fill_defaults(again, gpu_count=0)
    assert again == config
