"""Tensors that a model is given, or gives, and that no client sees: controls and states of sequences, and the sizes of
the requests in a batch.

They stand in `sequence_batching`, `batch_input` or `pad_variable_dims`, and neither in `input` nor in `output`. A model
executes all of its tensors in the same way, though, so its backend loads it with a configuration that lists them.
"""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import (
    DataType,
    ModelConfig,
    ModelInput,
    ModelOutput,
    ModelSequenceBatching,
)
from kserve_v2.config.added_inputs import added_inputs


def hidden_inputs(config: ModelConfig) -> list[ModelInput]:
    """The inputs that the server makes itself, less those that `config.input` lists."""
    listed = {tensor.name for tensor in config.input}
    hidden = [*_inputs(config.sequence_batching), *added_inputs(config)]
    return [tensor for tensor in hidden if tensor.name not in listed]


def hidden_outputs(config: ModelConfig) -> list[ModelOutput]:
    """The outputs that the server keeps for itself: states that `config.output` does not list."""
    listed = {tensor.name for tensor in config.output}
    return [
        ModelOutput(name=state.output_name, data_type=state.data_type, dims=state.dims)
        for state in config.sequence_batching.state
        if state.output_name not in listed
    ]


def with_hidden_tensors(config: ModelConfig) -> ModelConfig:
    """The configuration with all the tensors of an execution in its `input` and `output`: the hidden ones come last."""
    whole = ModelConfig()
    whole.CopyFrom(config)
    whole.input.extend(hidden_inputs(config))
    whole.output.extend(hidden_outputs(config))
    return whole


def control_data_type(control: ModelSequenceBatching.Control) -> DataType.ValueType:
    """The data type of a control's tensor; TYPE_INVALID where the configuration does not say it."""
    if control.kind == ModelSequenceBatching.Control.CONTROL_SEQUENCE_CORRID:
        return control.data_type
    if control.int32_false_true:
        return DataType.TYPE_INT32
    if control.fp32_false_true:
        return DataType.TYPE_FP32
    return DataType.TYPE_BOOL if control.bool_false_true else DataType.TYPE_INVALID


def _inputs(batching: ModelSequenceBatching) -> Iterator[ModelInput]:
    for tensor in batching.control_input:
        for control in tensor.control:
            yield ModelInput(name=tensor.name, data_type=control_data_type(control), dims=[1])
    for state in batching.state:
        yield ModelInput(name=state.input_name, data_type=state.data_type, dims=state.dims)
