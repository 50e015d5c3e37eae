"""What is wrong with an ensemble before its steps' models are looked at. The texts are Triton's."""

import pytest

from kserve_v2.config import ignored_fields, parse_config
from kserve_v2.config.ensemble import ensemble_problems

GOOD = """
name: "e"
platform: "ensemble"
input [ { name: "X" data_type: TYPE_FP32 dims: [ 1 ] }, { name: "W" data_type: TYPE_FP32 dims: [ 1 ] optional: true } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling {
  step [
    {
      model_name: "b"
      model_version: -1
      input_map [ { key: "IN" value: "t" }, { key: "W" value: "W" } ]
      output_map { key: "OUT" value: "Y" }
    },
    {
      model_name: "a"
      model_version: -1
      input_map { key: "IN" value: "X" }
      output_map { key: "OUT" value: "t" }
    }
  ]
}
"""
STEP_B = GOOD[GOOD.index("    {\n") : GOOD.index("    },") + 7]
STEP_A = GOOD[GOOD.index("    },") + 7 : GOOD.index("  ]\n}")]


def problems(text: str) -> list[str]:
    return [problem.message for problem in ensemble_problems(parse_config(text, "config.pbtxt"))]


def test_a_good_one_has_none() -> None:
    assert problems(GOOD) == []


def test_other_models_are_not_looked_at() -> None:
    assert problems('name: "m" backend: "onnxruntime" instance_group { count: 2 }') == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'platform: "ensemble"',
            'platform: "onnxruntime_onnx"',
            ["ensemble scheduling cannot be set for model 'e' whose platform is not ensemble"],
        ),
        (
            'platform: "ensemble"',
            'platform: "ensemble" backend: "python"',
            ["Ensemble model 'e' must have platform type 'ensemble' and empty backend type"],
        ),
        (
            'platform: "ensemble"',
            'platform: "ensemble" instance_group { count: 1 }',
            ["instance group should not be specified for ensemble 'e'"],
        ),
        (
            'platform: "ensemble"',
            'platform: "ensemble" optimization { }',
            ["optimization should not be specified for ensemble 'e'"],
        ),
        (
            'platform: "ensemble"',
            'platform: "ensemble" model_warmup { name: "w" }',
            ["model_warmup can not be specified for ensemble 'e'"],
        ),
        (
            'platform: "ensemble"',
            'platform: "ensemble" batch_input { } batch_output { }',
            [
                "batch_input can not be specified for ensemble 'e': its steps' models have them",
                "batch_output can not be specified for ensemble 'e': its steps' models have them",
            ],
        ),
        (
            'name: "Y" data_type: TYPE_FP32 dims: [ 1 ]',
            'name: "Y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] }',
            ["reshape can not be specified for ensemble 'e'"],
        ),
        (STEP_A, "{ }", ["must specify 'model_name' in step 1 of ensemble 'e'",
                         "must specify 'input_map' in step 1 of ensemble 'e'",
                         "must specify 'output_map' in step 1 of ensemble 'e'"]),
        ('name: "W"', 'name: "V"', ["ensemble input 'V' for ensemble e is not used",
                                    "output 'Y' for ensemble 'e' is not written: at least one of its depending "
                                    "tensors, 'W', is not connected",
                                    "ensemble tensor 'W' is unused in ensemble 'e'"]),
        ('output [ { name: "Y"', 'output [ { name: "Z" data_type: TYPE_FP32 dims: [ 1 ] }, { name: "Y"',
         ["ensemble output 'Z' for ensemble e is not used"]),
        ('key: "OUT" value: "t"', 'key: "OUT" value: "Y"',
         ["ensemble tensor 'Y' can appear in an output map only once for ensemble 'e' step 1",
          "ensemble tensor 't' is unused in ensemble 'e'"]),
        ('key: "OUT" value: "t"', 'key: "OUT" value: "X"',
         ["ensemble tensor 'X' is an input of ensemble 'e', which no step can write",
          "output 'Y' for ensemble 'e' is not written: at least one of its depending tensors, 't', is not connected",
          "ensemble tensor 't' is unused in ensemble 'e'"]),
        ('{ key: "OUT" value: "t" }', '[ { key: "OUT" value: "t" }, { key: "S" value: "side" } ]',
         ["ensemble tensor 'side' is unused in ensemble 'e'"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_tritons_texts(old: str, new: str, expected: list[str]) -> None:
    assert old in GOOD
    assert problems(GOOD.replace(old, new, 1)) == expected


@pytest.mark.parametrize("version", [-3, -1, 0, 7])
def test_a_version_is_a_number_or_minus_one(version: int) -> None:
    wrong = "must be a version, or -1 for the highest that is ready, got -3"
    assert "model_version: -1" in GOOD
    found = problems(GOOD.replace("model_version: -1", f"model_version: {version}", 1))
    assert found == ([wrong] if version == -3 else [])


def test_what_only_models_that_are_executed_use_is_a_warning() -> None:
    text = GOOD.replace("input [ {", "input [ { allow_ragged_batch: true", 1) + 'default_model_filename: "m"'
    assert sorted(problem.path for problem in ignored_fields(parse_config(text, "config.pbtxt"))) == [
        "default_model_filename",
        "input[0].allow_ragged_batch",
    ]


def test_parameters_that_an_ensemble_cannot_read_are_named() -> None:
    text = "".join(
        f'parameters {{ key: "{name}" value: {{ string_value: "1" }} }}'
        for name in ("a", "latency_budget_ms")
    )
    config = parse_config(GOOD + text, "config.pbtxt")
    assert sorted(str(problem) for problem in ignored_fields(config)) == [
        "parameters['a']: is set but has no effect: ensembles read none",
        "parameters['latency_budget_ms']: is set but has no effect: ensembles read none",
    ]


def test_steps_that_wait_for_each_other_are_a_circle() -> None:
    circle = GOOD.replace(
        'input_map { key: "IN" value: "X" }',
        'input_map [ { key: "IN" value: "Y" }, { key: "X" value: "X" } ]',
    )
    assert problems(circle) == [
        "output 'Y' for ensemble 'e' is not written: at least one of its depending tensors, 't', is not connected",
        "ensemble tensor 't' is unused in ensemble 'e'",
    ]


def test_without_steps_there_is_nothing_to_execute() -> None:
    assert problems('name: "e" platform: "ensemble" ensemble_scheduling { }') == [
        "must specify 'step' for ensemble 'e'"
    ]
    [text] = problems('name: "e" platform: "ensemble"')
    assert text.startswith("Ensemble model 'e' must have platform type 'ensemble' and empty backend type")
