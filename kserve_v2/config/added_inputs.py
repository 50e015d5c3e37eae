"""Inputs that the server makes from the sizes of the requests in a batch: the targets of `batch_input`, and the lengths
and masks of `pad_variable_dims`.
"""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import BatchInput, ModelConfig, ModelInput, ModelTensorReshape
from kserve_v2.config.padding import padding_of


def added_inputs(config: ModelConfig) -> Iterator[ModelInput]:
    """Those of a configuration, as the model has to take them. One that is wrong otherwise may have fewer."""
    ranks = {tensor.name: len(tensor.dims) for tensor in config.input}
    for each in config.batch_input:
        rank = ranks.get(each.source_input[0]) if each.source_input else None
        for name in each.target_name:
            if each.kind == BatchInput.BATCH_ITEM_SHAPE:
                yield ModelInput(name=name, data_type=each.data_type, dims=[rank or -1])
            else:
                yield _flat(name, each.data_type)
    padding = padding_of(config)
    for added in padding.added if padding else ():
        data_type = added.datatype.config_enum
        if added.mask or added.dims:
            yield ModelInput(name=added.target, data_type=data_type, dims=[-1] if added.mask else added.dims)  # type: ignore[arg-type]
        else:
            yield _flat(added.target, data_type)


def _flat(name: str, data_type: int) -> ModelInput:
    """A tensor of one dimension: it has nothing behind the batch."""
    return ModelInput(name=name, data_type=data_type, dims=[1], reshape=ModelTensorReshape())  # type: ignore[arg-type]
