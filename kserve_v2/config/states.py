"""Validation of implicit states, `sequence_batching.state`: texts follow Triton's where it has one."""

from collections.abc import Iterator, Sequence

from kserve_v2._generated.model_config_pb2 import DataType, ModelConfig, ModelOutput, ModelSequenceBatching
from kserve_v2.config.problems import Problem
from kserve_v2.config.tensors import BAD_DIMENSION, VARIABLE

State = ModelSequenceBatching.State
InitialState = ModelSequenceBatching.InitialState


def state_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield what is wrong with the states of sequences. Looks at no file."""
    states = config.sequence_batching.state
    outputs = {output.name: output for output in config.output}
    given = [tensor.name for tensor in config.input]
    given += [control.name for control in config.sequence_batching.control_input]
    if (
        states
        and config.model_transaction_policy.decoupled
        and not config.sequence_batching.iterative_sequence
    ):
        text = "a model that yields any number of responses keeps no states: which of them would its next step follow?"
        yield Problem("sequence_batching.state", text)
    for index, state in enumerate(states):
        path = f"sequence_batching.state[{index}]"
        yield from _name_problems(config, index, given)
        yield from _tensor_problems(state, path)
        if state.output_name in outputs:
            yield from _output_problems(state, outputs[state.output_name], path)
        yield from _initial_problems(state, path)


def _name_problems(config: ModelConfig, index: int, given: Sequence[str]) -> Iterator[Problem]:
    states = config.sequence_batching.state
    state, path = states[index], f"sequence_batching.state[{index}]"
    for field, name in (("input_name", state.input_name), ("output_name", state.output_name)):
        if not name:
            yield Problem(
                f"{path}.{field}", f"sequence batching state must specify '{field}' for {config.name}"
            )
        elif name in [getattr(other, field) for other in states[:index]]:
            yield Problem(f"{path}.{field}", f"'{name}' is that of another state")
    if state.input_name and state.input_name in given:
        yield Problem(
            f"{path}.input_name",
            f"'{state.input_name}' is an input or a control as well; the server gives states itself: leave it out",
        )


def _tensor_problems(state: State, path: str) -> Iterator[Problem]:
    name = state.input_name
    if state.data_type == DataType.TYPE_INVALID:
        yield Problem(f"{path}.data_type", f"state '{name}' must specify 'data_type'")
    elif state.data_type not in DataType.values():
        yield Problem(f"{path}.data_type", f"state '{name}' has unknown data type {state.data_type}")
    if not state.dims:
        yield Problem(f"{path}.dims", f"state '{name}' must specify 'dims'")
    for number, dim in enumerate(state.dims):
        if dim < 1 and dim != VARIABLE:
            text = f"state '{name}' {BAD_DIMENSION}, got {dim}"
            yield Problem(f"{path}.dims[{number}]", text)


def _output_problems(state: State, output: ModelOutput, path: str) -> Iterator[Problem]:
    """A state may be answered as well, but it is one tensor."""
    if output.data_type and output.data_type != state.data_type:
        names = [
            DataType.Name(each) for each in (state.data_type, output.data_type) if each in DataType.values()
        ]
        yield Problem(f"{path}.data_type", f"output '{output.name}' has another one: {' != '.join(names)}")
    shape = output.reshape.shape if output.HasField("reshape") else output.dims
    if output.dims and list(shape) != list(state.dims):
        text = f"output '{output.name}' has others: {list(state.dims)} != {list(shape)}"
        yield Problem(f"{path}.dims", text)


def _initial_problems(state: State, path: str) -> Iterator[Problem]:
    count = len(state.initial_state)
    if count > 1:
        yield Problem(
            f"{path}.initial_state",
            f"initial_state field for state input '{state.input_name}' must contain exactly one or zero element. "
            f"Found '{count}' elements.",
        )
    for number, initial in enumerate(state.initial_state):
        yield from _initial_state_problems(state, initial, f"{path}.initial_state[{number}]")


def _initial_state_problems(state: State, initial: InitialState, path: str) -> Iterator[Problem]:
    name = state.input_name
    if initial.data_type != state.data_type:
        yield Problem(
            f"{path}.data_type",
            f"The data type used for 'initial_state' field of state '{name}' does not match the state data type.",
        )
    if not initial.name:
        text = f"Field 'name' must be set when using initial_state for state input '{name}'."
        yield Problem(f"{path}.name", text)
    if len(initial.dims) != len(state.dims):
        yield Problem(
            f"{path}.dims",
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions for state input "
            f"'{name}'. {len(initial.dims)} != {len(state.dims)}",
        )
    else:
        yield from _dim_problems(state, initial, path)
    if initial.WhichOneof("state_data") is None:
        yield Problem(path, f"initial_state setting expects state'{name}' to have state_data set")
    elif initial.WhichOneof("state_data") == "data_file" and not initial.data_file:
        yield Problem(f"{path}.data_file", f"state '{name}' names no file")


def _dim_problems(state: State, initial: InitialState, path: str) -> Iterator[Problem]:
    name = state.input_name
    for number, (given, described) in enumerate(zip(initial.dims, state.dims, strict=True)):
        if given < 1:
            text = f"'initial_state' field for state input name '{name}' contains variable dimensions."
            yield Problem(f"{path}.dims[{number}]", text)
        elif described not in (VARIABLE, given):
            yield Problem(
                f"{path}.dims[{number}]",
                f"'initial_state' dim for input name '{name}' doesn't match 'state' dim description. "
                f"{given} != {described}",
            )
