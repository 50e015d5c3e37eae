"""Implicit states in configurations: what is refused, and what lists them beside the other tensors."""

from pathlib import Path

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config import (
    ConfigError,
    fill_defaults,
    link_problems,
    raise_if_invalid,
    validate,
)
from kserve_v2.config import (
    parse_config as parse,
)
from kserve_v2.config.hidden import hidden_inputs, hidden_outputs, with_hidden_tensors

MODEL = """
    name: "M" backend: "python" max_batch_size: 4
    input { name: "IN" data_type: TYPE_INT32 dims: 1 }
    output { name: "OUT" data_type: TYPE_INT32 dims: 1 }
"""

CONTROL = """control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } }
    control_input { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } }"""


def parse_config(text: str) -> ModelConfig:
    return parse(text, "config.pbtxt")


def model(state: str, rest: str = "") -> str:
    return f"{MODEL} {rest} sequence_batching {{ {CONTROL} state {{ {state} }} }}"


def fields(
    *,
    names: str = 'input_name: "S" output_name: "SO"',
    kind: str = "data_type: TYPE_INT32",
    dims: str = "dims: 1",
) -> str:
    return f"{names} {kind} {dims}"


def initial(
    *,
    name: str = 'name: "first"',
    kind: str = "data_type: TYPE_INT32",
    dims: str = "dims: 1",
    data: str = "zero_data: true",
) -> str:
    return f" initial_state {{ {name} {kind} {dims} {data} }}"


def problems(text: str) -> list[tuple[str, str]]:
    config = parse_config(text)
    fill_defaults(config, gpu_count=0)
    return [
        (problem.path, problem.message)
        for problem in validate(config, gpu_count=0)
        if ".state" in problem.path
    ]


STATE = "sequence_batching.state[0]"
INITIAL = f"{STATE}.initial_state[0]"


@pytest.mark.parametrize(
    "state",
    [
        fields(),
        fields(dims="dims: [ -1, 2 ]"),
        fields() + initial(),
        fields() + initial(data='data_file: "ten"'),
        fields(dims="dims: [ -1 ]") + initial(dims="dims: 3", data="zero_data: false"),
    ],
)
def test_valid_states(state: str) -> None:
    assert problems(model(state)) == []


@pytest.mark.parametrize(
    ("state", "path", "message"),
    [
        (
            fields() + initial() + initial(),
            f"{STATE}.initial_state",
            "initial_state field for state input 'S' must contain exactly one or zero element. Found '2' elements.",
        ),
        (
            fields() + initial(kind="data_type: TYPE_INT64"),
            f"{INITIAL}.data_type",
            "The data type used for 'initial_state' field of state 'S' does not match the state data type.",
        ),
        (
            fields() + initial(name=""),
            f"{INITIAL}.name",
            "Field 'name' must be set when using initial_state for state input 'S'.",
        ),
        (
            fields(dims="dims: [ 1, 2 ]") + initial(),
            f"{INITIAL}.dims",
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions for state input 'S'. "
            "1 != 2",
        ),
        (
            fields(dims="dims: -1") + initial(dims="dims: -1"),
            f"{INITIAL}.dims[0]",
            "'initial_state' field for state input name 'S' contains variable dimensions.",
        ),
        (
            fields(dims="dims: 2") + initial(),
            f"{INITIAL}.dims[0]",
            "'initial_state' dim for input name 'S' doesn't match 'state' dim description. 1 != 2",
        ),
        (
            fields() + initial(data=""),
            INITIAL,
            "initial_state setting expects state'S' to have state_data set",
        ),
        (fields() + initial(data='data_file: ""'), f"{INITIAL}.data_file", "state 'S' names no file"),
        (
            fields() + initial(data='data_file: "../secret"'),
            f"{INITIAL}.data_file",
            "'../secret' must be a relative path without '..' inside the model's directory",
        ),
        (
            fields(names='output_name: "SO"'),
            f"{STATE}.input_name",
            "sequence batching state must specify 'input_name' for M",
        ),
        (
            fields(names='input_name: "S"'),
            f"{STATE}.output_name",
            "sequence batching state must specify 'output_name' for M",
        ),
        (fields(kind=""), f"{STATE}.data_type", "state 'S' must specify 'data_type'"),
        (fields(dims=""), f"{STATE}.dims", "state 'S' must specify 'dims'"),
        (
            fields(dims="dims: 0"),
            f"{STATE}.dims[0]",
            "state 'S' dimension must be integer >= 1, or -1 to indicate a variable-size dimension, got 0",
        ),
        (
            fields(dims="dims: [ 1048576, 1048577 ]"),
            f"{STATE}.dims",
            "must be at most 1099511627776 elements in all, got 1099512676352",
        ),
        (
            fields(names='input_name: "IN" output_name: "SO"'),
            f"{STATE}.input_name",
            "'IN' is an input or a control as well; the server gives states itself: leave it out",
        ),
        (
            fields(names='input_name: "START" output_name: "SO"'),
            f"{STATE}.input_name",
            "'START' is an input or a control as well; the server gives states itself: leave it out",
        ),
        (
            fields(names='input_name: "S" output_name: "OUT"', kind="data_type: TYPE_FP32"),
            f"{STATE}.data_type",
            "output 'OUT' has another one: TYPE_FP32 != TYPE_INT32",
        ),
        (
            fields(names='input_name: "S" output_name: "OUT"', dims="dims: 2"),
            f"{STATE}.dims",
            "output 'OUT' has others: [2] != [1]",
        ),
    ],
)
def test_invalid_states(state: str, path: str, message: str) -> None:
    assert (path, message) in problems(model(state))


def test_two_states_have_names_of_their_own() -> None:
    text = f"{MODEL} sequence_batching {{ state {{ {fields()} }} state {{ {fields()} }} }}"
    assert problems(text) == [
        ("sequence_batching.state[1].input_name", "'S' is that of another state"),
        ("sequence_batching.state[1].output_name", "'SO' is that of another state"),
    ]


def test_all_problems_at_once() -> None:
    config = parse_config(model(fields(dims="") + initial(name="", kind="", dims="", data="")))
    fill_defaults(config, gpu_count=0)
    with pytest.raises(ConfigError) as raised:
        raise_if_invalid(config, gpu_count=0)
    for part in ("must specify 'dims'", "'name' must be set", "does not match", "to have state_data set"):
        assert part in raised.value.message


def test_a_link_leads_an_initial_state_out_of_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "M"
    (directory / "initial_state").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"1234")
    (directory / "initial_state" / "ten").symlink_to(tmp_path / "secret")
    config = parse_config(model(fields() + initial(data='data_file: "ten"')))
    assert [str(problem) for problem in link_problems(config, directory)] == [
        f"{INITIAL}.data_file: state 'S': file 'ten' is outside of the model's directory"
    ]


def test_the_tensors_of_an_execution() -> None:
    config = parse_config(model(fields(names='input_name: "S" output_name: "OUT"')))
    listed = [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in hidden_inputs(config)]
    fp32, string, int32 = 11, 13, 8
    assert listed == [("START", fp32, [1]), ("ID", string, [1]), ("S", int32, [1])]
    assert hidden_outputs(config) == []  # it is declared
    whole = with_hidden_tensors(parse_config(model(fields())))
    assert [tensor.name for tensor in whole.input] == ["IN", "START", "ID", "S"]
    assert [tensor.name for tensor in whole.output] == ["OUT", "SO"]
    assert with_hidden_tensors(whole) == whole


def test_a_model_that_yields_its_responses_keeps_no_states() -> None:
    decoupled = "model_transaction_policy { decoupled: true }"
    assert problems(model(fields(), decoupled)) == [
        (
            "sequence_batching.state",
            "a model that yields any number of responses keeps no states: which of them would its next step follow?",
        )
    ]
    assert problems(model(f"{fields()} }} iterative_sequence: true oldest {{", decoupled)) == []
