"""The states with which sequences begin, from the configuration and the files that it names."""

from pathlib import Path

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelSequenceBatching
from kserve_v2.config.files import INITIAL_STATE_FOLDER, is_within
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.scheduling.sequences.states import StateTensor, zeros
from kserve_v2.scheduling.signature import TensorSignature
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, BYTES, Array
from kserve_v2.tensors.raw import decode_raw_tensor


def read_states(config: ModelConfig, model_path: Path) -> tuple[StateTensor, ...]:
    """The states of a valid configuration. Blocks on the file system.

    Raises InvalidArgumentError, with all that is wrong, for files that are missing or do not hold a state.
    """
    states: list[StateTensor] = []
    wrong: dict[int, str] = {}
    for index, state in enumerate(config.sequence_batching.state):
        try:
            states.append(_state(state, model_path, config))
        except InvalidArgumentError as error:
            wrong[index] = error.message
    if wrong:
        problems = [
            f"sequence_batching.state[{index}].initial_state[0].data_file: {text}"
            for index, text in wrong.items()
        ]
        raise InvalidArgumentError("; ".join(wrong.values()), problems)
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
        first = _read(initial.data_file, model_path, announced)
    first.flags.writeable = False
    return StateTensor(state.input_name, tensor, first)


def _read(filename: str, model_path: Path, announced: AnnouncedInput) -> Array:
    """The tensor's bytes, of which the file may hold more; texts fill the whole file, each with its length in front."""
    shown = f"state '{announced.name}': file '{INITIAL_STATE_FOLDER}/{filename}'"
    path = (model_path / INITIAL_STATE_FOLDER / filename).resolve()
    if not is_within(path, model_path):
        raise InvalidArgumentError(f"{shown} is outside of the model's directory")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"{shown} cannot be read: {error.strerror}") from error
    if announced.datatype is BYTES:
        try:
            return decode_raw_tensor(announced, data)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{shown}: {error.message.removeprefix(announced.prefix)}") from error
    size = announced.element_count() * announced.datatype.item_size
    if len(data) < size:
        raise InvalidArgumentError(
            f"initial_state setting expects {size} bytes, but the data provided from {filename} only has {len(data)} "
            "bytes."
        )
    return decode_raw_tensor(announced, data[:size])
