"""The values of `batch_input`, computed from the shapes of the requests in a batch as Triton's backends do it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np

from kserve_v2._generated.model_config_pb2 import BatchInput, ModelConfig
from kserve_v2.errors import InternalError
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, Array, Datatype

Shapes = Sequence[tuple[int, ...]]
"""Of one input, for each request of a batch, batch dimension included."""


class MadeInput(NamedTuple):
    """An input that is made from the shapes of another one, `source`."""

    target: str
    source: str
    kind: int
    datatype: Datatype

    def value(self, shapes: Shapes) -> Array:
        """The tensor. Raises InternalError for a size that the datatype cannot hold."""
        try:
            return _VALUES[self.kind](shapes, self.datatype)
        except OverflowError as error:
            raise InternalError(
                f"input '{self.target}': the sizes of the batch do not fit {self.datatype.name}"
            ) from error


def made_inputs(config: ModelConfig) -> tuple[MadeInput, ...]:
    """All those of a valid configuration."""
    return tuple(
        MadeInput(target, each.source_input[0], each.kind, BY_CONFIG_ENUM[each.data_type])
        for each in config.batch_input
        for target in each.target_name
    )


def _element_count(shapes: Shapes, datatype: Datatype) -> Array:
    """How many elements each request has."""
    return np.array([prod(shape) for shape in shapes], datatype.dtype)


def _accumulated(shapes: Shapes, datatype: Datatype) -> Array:
    """How many elements each request and those before it have."""
    return np.array([*accumulate(prod(shape) for shape in shapes)], datatype.dtype)


def _accumulated_with_zero(shapes: Shapes, datatype: Datatype) -> Array:
    return np.array([*accumulate((prod(shape) for shape in shapes), initial=0)], datatype.dtype)


def _max_as_shape(shapes: Shapes, datatype: Datatype) -> Array:
    """As long as the largest request has elements. Only the shape means something."""
    return np.zeros(max(prod(shape) for shape in shapes), datatype.dtype)


def _item_shape(shapes: Shapes, datatype: Datatype) -> Array:
    """The shape of each row, without the batch dimension."""
    return np.array([shape[1:] for shape in shapes for _ in range(shape[0])], datatype.dtype)


def _item_shape_flat(shapes: Shapes, datatype: Datatype) -> Array:
    return _item_shape(shapes, datatype).reshape(-1)


_VALUES: Mapping[int, Callable[[Shapes, Datatype], Array]] = {
    BatchInput.BATCH_ELEMENT_COUNT: _element_count,
    BatchInput.BATCH_ACCUMULATED_ELEMENT_COUNT: _accumulated,
    BatchInput.BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO: _accumulated_with_zero,
    BatchInput.BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: _max_as_shape,
    BatchInput.BATCH_ITEM_SHAPE: _item_shape,
    BatchInput.BATCH_ITEM_SHAPE_FLATTEN: _item_shape_flat,
}
