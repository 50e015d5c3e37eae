"""What may be wrong with `sequence_batching`, and what is filled in. Texts are Triton's (scheduling.md 4.6, features 3.4)."""

import pytest

from kserve_v2.config import config_to_dict, fill_defaults, parse_config, validate

KIND = "CONTROL_SEQUENCE_START"
INT32 = "int32_false_true: [0, 1]"
PAIRS = "'int32_false_true', 'fp32_false_true' and 'bool_false_true'"
BASE = (
    'backend: "python" max_batch_size: 4 input { name: "IN" data_type: TYPE_FP32 dims: 1 } '
    'output { name: "OUT" data_type: TYPE_FP32 dims: 1 } '
)


def problems(text: str) -> list[tuple[str, str]]:
    config = parse_config(BASE + f"sequence_batching {{ {text} }}", "M")
    config.name = "M"
    fill_defaults(config, gpu_count=0)
    return [(problem.path, problem.message) for problem in validate(config, gpu_count=0)]


def control(body: str, name: str = "T") -> str:
    return f'control_input {{ name: "{name}" control {{ {body} }} }}'


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (
            control(f"kind: {KIND} {INT32}", ""),
            "control_input[0].name",
            "sequence batching control tensor must have a name for M",
        ),
        (
            control(f"kind: {KIND} {INT32}") + control(f"kind: CONTROL_SEQUENCE_END {INT32}"),
            "control_input[1].name",
            "sequence batching control tensor 'T' is specified for multiple control kinds for M",
        ),
        (
            control(f"kind: {KIND} {INT32}") + control(f"kind: {KIND} {INT32}", "U"),
            "control_input[1].control[0].kind",
            "sequence batching specifies multiple CONTROL_SEQUENCE_START tensors for M",
        ),
        (
            control(f"kind: {KIND}"),
            "control_input[0].control[0]",
            "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for "
            "CONTROL_SEQUENCE_START for M",
        ),
        (
            control(f"kind: CONTROL_SEQUENCE_READY {INT32} bool_false_true: [false, true]"),
            "control_input[0].control[0]",
            f"sequence batching specifies more than one from {PAIRS} for CONTROL_SEQUENCE_READY for M",
        ),
        (
            control(f"kind: {KIND} int32_false_true: [0, 1, 2]"),
            "control_input[0].control[0].int32_false_true",
            "sequence batching control 'int32_false_true' must have exactly 2 entries for CONTROL_SEQUENCE_START for M",
        ),
        (
            control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 fp32_false_true: [0, 1]"),
            "control_input[0].control[0].fp32_false_true",
            "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for "
            "CONTROL_SEQUENCE_CORRID for M",
        ),
        (
            control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32"),
            "control_input[0].control[0].data_type",
            "unexpected data type for control CONTROL_SEQUENCE_CORRID for M. Allowed data types are TYPE_UINT64, "
            "TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
        ),
        (
            "direct { minimum_slot_utilization: 1.5 }",
            "direct.minimum_slot_utilization",
            "sequence batching minimum slot utilization must be in range (0.0, 1.0] for M",
        ),
        (
            "oldest { preferred_batch_size: [0] }",
            "oldest.preferred_batch_size[0]",
            "sequence batching preferred batch size must be positive for M",
        ),
        (
            "oldest { preferred_batch_size: [2, 8] }",
            "oldest.preferred_batch_size[1]",
            "sequence batching preferred batch size must be <= max batch size for M",
        ),
        (
            "oldest { max_candidate_sequences: -1 }",
            "oldest.max_candidate_sequences",
            "must not be negative, got -1",
        ),
        (
            "oldest { max_queue_delay_microseconds: 99999999999 }",
            "oldest.max_queue_delay_microseconds",
            "must be at most 3600000000 microseconds, got 99999999999",
        ),
        (
            control(f"kind: {KIND} {INT32}", "IN"),
            "control_input[0].name",
            "'IN' is an input that clients send, too: remove it from 'input', the server makes it",
        ),
        (
            'control_input { name: "T" }',
            "control_input[0].control",
            "says nothing: give the kind of control that the tensor is",
        ),
    ],
)
def test_each_problem_is_told_with_its_place(text: str, path: str, message: str) -> None:
    assert problems(text) == [(f"sequence_batching.{path}", message)]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        "direct { minimum_slot_utilization: -1 } max_sequence_idle_microseconds: 18446744073709551615 "
        + control(f"kind: {KIND}", "")
        + control("kind: CONTROL_SEQUENCE_CORRID", "ID")
    )
    assert [path.removeprefix("sequence_batching.") for path, _ in found] == [
        "max_sequence_idle_microseconds",
        "direct.minimum_slot_utilization",
        "control_input[0].name",
        "control_input[0].control[0]",
        "control_input[1].control[0].data_type",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "direct {}",
        "oldest { max_candidate_sequences: 7 }",
        "direct { max_queue_delay_microseconds: 5000000 minimum_slot_utilization: 1 }",
        control(f"kind: {KIND} fp32_false_true: [-1, 0.5]")
        + control("kind: CONTROL_SEQUENCE_READY bool_false_true: [true, false]", "R")
        + control(f"kind: CONTROL_SEQUENCE_END {INT32}", "E")
        + control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING", "C"),
    ],
)
def test_what_is_right_is_served(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (
            "",
            {
                "max_sequence_idle_microseconds": 1000000,
                "control_input": [],
                "state": [],
                "iterative_sequence": False,
            },
        ),
        (
            "oldest {} max_sequence_idle_microseconds: 5",
            {
                "oldest": {
                    "max_candidate_sequences": 0,
                    "preferred_batch_size": [4],
                    "max_queue_delay_microseconds": 0,
                    "preserve_ordering": False,
                },
                "max_sequence_idle_microseconds": 5,
                "control_input": [],
                "state": [],
                "iterative_sequence": False,
            },
        ),
        (
            control("kind: CONTROL_SEQUENCE_START bool_false_true: [false, true]"),
            {
                "max_sequence_idle_microseconds": 1000000,
                "control_input": [
                    {
                        "name": "T",
                        "control": [
                            {
                                "kind": "CONTROL_SEQUENCE_START",
                                "int32_false_true": [],
                                "fp32_false_true": [],
                                "bool_false_true": [False, True],
                                "data_type": "TYPE_INVALID",
                            }
                        ],
                    }
                ],
                "state": [],
                "iterative_sequence": False,
            },
        ),
    ],
)
def test_what_is_filled_in_and_how_it_is_printed(text: str, printed: dict[str, object]) -> None:
    config = parse_config(BASE + f"sequence_batching {{ {text} }}", "M")
    fill_defaults(config, gpu_count=0)
    assert config_to_dict(config)["sequence_batching"] == printed
