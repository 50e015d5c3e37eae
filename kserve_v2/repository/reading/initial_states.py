"""The states with which sequences begin, from the configuration and the files that it names."""

from pathlib import Path

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelSequenceBatching
from kserve_v2.config.files import INITIAL_STATE_FOLDER
from kserve_v2.config.problems import Problem, files_error
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.reading.tensor_files import TensorFiles
from kserve_v2.scheduling.sequences.states import StateTensor, zeros
from kserve_v2.scheduling.signature import TensorSignature
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM

_FILES = TensorFiles(
    INITIAL_STATE_FOLDER,
    "state",
    "initial_state setting expects {} bytes, but the data provided from {} only has {} bytes.",
)


def read_states(config: ModelConfig, model_path: Path) -> tuple[StateTensor, ...]:
    """The states of a valid configuration. Blocks on the file system.

    Raises InvalidArgumentError, with all that is wrong, for files that are missing or do not hold a state.
    """
    states: list[StateTensor] = []
    wrong: list[Problem] = []
    for index, state in enumerate(config.sequence_batching.state):
        try:
            states.append(_state(state, model_path, config))
        except InvalidArgumentError as error:
            path = f"sequence_batching.state[{index}].initial_state[0].data_file"
            wrong.append(Problem(path, error.message))
    if wrong:
        raise files_error(wrong)
    return tuple(states)


def _state(state: ModelSequenceBatching.State, model_path: Path, config: ModelConfig) -> StateTensor:
    tensor = TensorSignature(state.output_name, BY_CONFIG_ENUM[state.data_type], tuple(state.dims))
    batch = (1,) if config.max_batch_size > 0 else ()
    initial = state.initial_state[0] if state.initial_state else None
    shape = batch + tuple(initial.dims if initial else (max(dim, 1) for dim in state.dims))
    if initial is None or initial.WhichOneof("state_data") != "data_file":
        first = zeros(tensor, shape)
    else:
        announced = AnnouncedInput(state.input_name, tensor.datatype, shape, config.name, "")
        first = _FILES.read(initial.data_file, model_path, announced)
    first.flags.writeable = False
    return StateTensor(state.input_name, tensor, first)
