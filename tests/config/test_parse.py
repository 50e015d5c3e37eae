"""Configuration text and JSON: what is read, and what is said about mistakes."""

import json
import logging
from pathlib import Path

import pytest

from kserve_v2._generated.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup
from kserve_v2.config import ConfigError, parse_config, parse_config_json, read_config
from kserve_v2.errors import InvalidArgumentError

CASES = Path(__file__).parent.parent / "cases" / "config_text"

# Everything in one file that real configurations use: both list forms, comments, < >, escapes, commas, maps.
REALISTIC = """
# A detector.
name: "detector"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "image", data_type: TYPE_FP32, format: FORMAT_NCHW, dims: [ 3, -1, -1 ] },
  { name: 'threshold' data_type: TYPE_FP32 dims: 1 reshape { shape: [] } optional: true }
]
output < name: "boxes" data_type: TYPE_FP32 dims: -1 dims: 4 label_filename: "labels.txt" >
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100
  default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5000 max_queue_size: 32 } }
instance_group [ { count: 2 kind: KIND_CPU }, { kind: KIND_GPU gpus: [ 0, 1 ] } ]
parameters: { key: "intra_op_thread_count" value: { string_value: "2" } }
parameters { key: "text" value { string_value: "a \\"quoted\\" # word" } }
version_policy: { specific { versions: [1, 3] } }
"""


def test_a_realistic_file() -> None:
    config = parse_config(REALISTIC, "config.pbtxt")
    assert (config.name, config.platform, config.max_batch_size) == ("detector", "onnxruntime_onnx", 8)
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [
        ("image", [3, -1, -1]),
        ("threshold", [1]),
    ]
    assert config.input[0].data_type == DataType.TYPE_FP32
    assert config.input[1].HasField("reshape")
    assert not config.input[0].HasField("reshape")
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 32
    assert [group.kind for group in config.instance_group] == [
        ModelInstanceGroup.KIND_CPU,
        ModelInstanceGroup.KIND_GPU,
    ]
    assert config.parameters["text"].string_value == 'a "quoted" # word'
    assert list(config.version_policy.specific.versions) == [1, 3]


def test_an_empty_file_is_an_empty_configuration() -> None:
    assert parse_config("", "config.pbtxt") == ModelConfig()


@pytest.mark.parametrize(
    ("text", "position", "part"),
    [
        ('name: "a"\nmax_batch_size: "eight"', "c:2:17", "eight"),
        ("input [ { data_type: TYPE_FP31 } ]", "c:1:22", "TYPE_FP31"),
        ('name: "a"\ninput {\n  dims: [1', "c:3:11", ""),
        ('name: "a" name: "b"', "c:1:17", "multiple"),
        ("max_batch_size: 3000000000", "c:1:17", "3000000000"),
        ('name: "unclosed', "c:1:7", ""),
        ("dynamic_batching { }\nsequence_batching { }", "c:2:1", "scheduling_choice"),
    ],
)
def test_a_syntax_error_has_its_position(text: str, position: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c")
    assert caught.value.message.startswith(f"{position}: ")
    assert part in caught.value.message
    assert "inference." not in caught.value.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("input { data_type: FP32 }", "has no value named FP32. Did you mean TYPE_FP32?"),
        ("input { data_type: float32 }", " Did you mean TYPE_FP32?"),
        ("input { data_type: int64 }", " Did you mean TYPE_INT64?"),
        ('input { data_type: "TYPE_FP32" }', " Did you mean TYPE_FP32, without quotation marks?"),
        ("instance_group { kind: GPU }", " Did you mean KIND_GPU?"),
        ("input { data_type: TYPE_ELEPHANT }", "has no value named TYPE_ELEPHANT."),
        (
            '{"max_batch_size": 4}',
            " This looks like JSON: write protobuf text format, as in max_batch_size: 8",
        ),
        ('input [ { name: "x" }\n', " The text ends here, and the bracket at 1:7 is not closed."),
        ("max_batch_size: \n", " The text ends here: is a closing bracket or a value missing?"),
        ('input [ { name: "x" } }', 'Expected ",".'),
    ],
)
def test_usual_slips_are_answered_by_what_was_meant(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c")
    assert hint in caught.value.message
    assert caught.value.message.endswith((hint, "around it."))


def test_every_misspelt_field_is_reported_with_a_suggestion() -> None:
    text = 'name: "a"\nmax_batchsize: 4\ninput { nam: "x"\n  datatype: TYPE_FP32 dims: [1] }\n'
    with pytest.raises(InvalidArgumentError) as caught:
        parse_config(text, "a/config.pbtxt")
    assert caught.value.message.splitlines() == [
        "a/config.pbtxt:2:1: unknown field 'max_batchsize' in ModelConfig; did you mean 'max_batch_size'?",
        "a/config.pbtxt:3:9: unknown field 'nam' in ModelInput; did you mean 'name'?",
        "a/config.pbtxt:4:3: unknown field 'datatype' in ModelInput; did you mean 'data_type'?",
    ]


NEWER = """quantum_mode: ENTANGLED  # a field of the future
name: "a"
zeta { deep { text: "}" list: [ { x: 1 }, { y: "]" } ] } } # }
eta: [ 1, 2,
       3 ]; theta: 'one' "two"
  'three'
iota <x: 1>
max_batch_size: 4
input { name: "x" kappa: -1.5e3 dims: [1] }
"""


def test_fields_of_a_newer_schema_are_skipped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="kserve_v2.config"):
        config = parse_config(NEWER, "c")
    assert config == parse_config('name: "a" max_batch_size: 4 input { name: "x" dims: [1] }', "c")
    assert [record.getMessage() for record in caplog.records] == [
        "c:1:1: unknown field 'quantum_mode' in ModelConfig is ignored",
        "c:3:1: unknown field 'zeta' in ModelConfig is ignored",
        "c:4:1: unknown field 'eta' in ModelConfig is ignored",
        "c:5:13: unknown field 'theta' in ModelConfig is ignored",
        "c:7:1: unknown field 'iota' in ModelConfig is ignored",
        "c:9:19: unknown field 'kappa' in ModelInput is ignored",
    ]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("zeta {\nmax_batch_size: 4", "c:1:6"),
        ("zeta: [1, {", "c:1:8"),
        ('zeta: "open', "c:1:7"),
        ("zeta }", "c:1:6"),
        ("zeta: : :", "c:1:9"),
        ("zeta max_batch_size: 4", "c:1:20"),
    ],
)
def test_a_malformed_unknown_field_swallows_nothing(text: str, position: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c")
    assert caught.value.message.startswith(f"{position}: ")


def test_positions_stay_true_behind_a_skipped_field() -> None:
    with pytest.raises(ConfigError, match=r"^c:3:17: "):
        parse_config("zeta { a: 1\n b: 2 }\nmax_batch_size: x", "c")


@pytest.mark.parametrize(
    "text",
    [
        '{"max_batch_size": 2, "version_policy": {"specific": {"versions": [1, 2]}}, "input": '
        '[{"name": "x", "data_type": "TYPE_FP32", "dims": [3, -1]}]}',
        '{"maxBatchSize": 2, "versionPolicy": {"specific": {"versions": ["1", "2"]}}, "input": '
        '[{"name": "x", "dataType": "TYPE_FP32", "dims": ["3", "-1"]}]}',
    ],
    ids=["snake_case", "camel_case"],
)
def test_json_in_both_spellings(text: str) -> None:
    written = "max_batch_size: 2 version_policy { specific { versions: [1, 2] } }"
    tensor = ' input { name: "x" data_type: TYPE_FP32 dims: [3, -1] }'
    assert parse_config_json(text) == parse_config(written + tensor, "c")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            '{"max_batchsize": 2}',
            "unknown field 'max_batchsize' in ModelConfig; did you mean 'max_batch_size'?",
        ),
        ('{"zeta": 2}', "unknown field 'zeta' in ModelConfig"),
        ('{"input": [{"data_type": "TYPE_FP31"}]}', "TYPE_FP31"),
        ('{"input": [{"data_type": "FP32"}]}', "; did you mean TYPE_FP32?"),
        ('{"max_batch_size": "eight"}', "eight"),
        ('{"max_batch_size": 2.5}', "max_batch_size"),
        ('{"dynamic_batching": {}, "sequence_batching": {}}', "scheduling_choice"),
        ('{"name": "\\ud800"}', "not JSON"),
        ('name: "a"', "not JSON"),
        ("[]", "expected a JSON object"),
        ("3", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ('"text"', "expected a JSON object"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (json.dumps({"input": [[[]]]}), ""),
    ],
)
def test_json_that_is_refused(text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config_json(text)
    assert caught.value.message.startswith("config override: ")
    assert part in caught.value.message
    assert "inference." not in caught.value.message


def test_a_file_is_read_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_bytes('name: "größe"'.encode())
    assert read_config(path, "m/config.pbtxt").name == "größe"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'name: "a"\n# \xff\nx: "\xff"',
            "m/config.pbtxt:3:5: not UTF-8 text: byte 0xff; save the file as UTF-8",
        ),
        (None, "m/config.pbtxt: cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "config.pbtxt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config(path, "m/config.pbtxt")
    assert caught.value.message == message


@pytest.mark.parametrize("content", [b"# caf\xe9\r\nname: 'a' # \xff\r\n", b"\xef\xbb\xbfname: 'a'"])
def test_a_file_as_editors_save_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_bytes(content)
    assert read_config(path, "m/config.pbtxt") == ModelConfig(name="a")


def test_a_file_with_a_mark_in_front() -> None:
    config = read_config(CASES / "bom.pbtxt", "m/config.pbtxt")
    assert (config.platform, config.max_batch_size, config.output[0].name) == ("onnxruntime_onnx", 8, "y")


def test_nothing_is_skipped_inside_the_entry_of_a_map() -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(CASES / "params_json_style.pbtxt", "m/config.pbtxt")
    assert caught.value.message == (
        "m/config.pbtxt:5:15: unknown field 'intra_op_thread_count' in an entry of a map; an entry is written: "
        'parameters { key: "intra_op_thread_count" value: { string_value: ... } }'
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('metric_tags { team: "a" }', 'metric_tags { key: "team" value: ... }'),
        ('parameters { key: "a" val: { string_value: "1" } }', "did you mean 'value'?"),
        ('parameters { key: "a" value: { int64_zahl: 1 } }', "'int64_zahl' in ModelParameter"),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value { zeta: 1 } } }",
            "'zeta' in ModelQueuePolicy, which is the value of a map",
        ),
        ("model_warmup { inputs { x: {} } }", 'inputs { key: "x" value: { data_type: ... } }'),
    ],
)
def test_unknown_fields_of_maps_are_errors(text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c")
    assert caught.value.message.startswith("c:1:")
    assert part in caught.value.message


def test_two_schedulers_in_json_have_tritons_text() -> None:
    with pytest.raises(ConfigError, match="'scheduling_choice' is already set"):
        parse_config_json('{"dynamic_batching": {}, "sequence_batching": {}}')


def test_all_values_that_cannot_be_are_said_at_once() -> None:
    text = "max_batch_size: eight\ninput { name: 3 data_type: FP32 dims: [ 1.5 ] }\nplatfrm: 'x' name: 'b'\nname: 'c'"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c")
    places = [problem.partition(": ")[0] for problem in caught.value.problems]
    assert places == ["c:1:17", "c:2:15", "c:2:28", "c:2:41", "c:3:1", "c:4:7"]
    assert caught.value.message == "\n".join(caught.value.problems)
    # The line is quoted as it is written, also when something before it in the line is wrong, too.
    assert (
        "'input { name: 3 data_type: FP32 dims: [ 1.5 ] }': Couldn't parse integer: 1.5"
        in caught.value.message
    )


def test_what_separates_a_wrong_field_from_the_next_is_no_mistake() -> None:
    text = "max_batch_size: eight; input { name: 3, dims: [ 1.5 ] # to come\n, data_typ: 1, dims: [ 1 ] };"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c")
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "c:1:17", "c:1:38", "c:1:49", "c:2:3"
    ]  # fmt: skip


def test_nothing_is_said_of_what_comes_behind_a_bracket_that_is_not_closed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("max_batch_size: eight\ninput [ { name: 3", "c")
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["c:1:17"]
