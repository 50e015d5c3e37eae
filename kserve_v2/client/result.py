"""What a server has answered to an inference request."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kserve_v2.client.request import ParameterValue
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_DTYPE, BYTES, Array


@dataclass(frozen=True, slots=True)
class Class:
    """One class of an output: its value, its index, and its label, "" if it has none."""

    value: float
    index: int
    label: str = ""


class InferResult(Mapping[str, Array]):
    """The outputs, arrays by name. Those of BYTES are arrays of `bytes`.

    `id`: of the request. `model_name`, `model_version`: what has answered. `parameters`: of the response.
    """

    def __init__(
        self,
        outputs: Mapping[str, Array],
        *,
        id: str = "",  # noqa: A002 - the protocol's name
        model_name: str = "",
        model_version: str = "",
        parameters: Mapping[str, ParameterValue] | None = None,
    ) -> None:
        self._outputs = dict(outputs)
        self.id = id
        self.model_name = model_name
        self.model_version = model_version
        self.parameters = dict(parameters or {})

    def __getitem__(self, name: str) -> Array:
        try:
            return self._outputs[name]
        except KeyError:
            raise KeyError(f"no output '{name}', there are: {', '.join(self._outputs) or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}: {BY_DTYPE[array.dtype].name}{list(array.shape)}"
            for name, array in self._outputs.items()
        )
        return f"<InferResult of {self.model_name} version {self.model_version}: {shown}>"

    def text(self, name: str) -> Array:
        """A BYTES output as an array of `str`. Raises InvalidArgumentError for another one, or what is no UTF-8."""
        array = self[name]
        if array.dtype != BYTES.dtype:
            raise InvalidArgumentError(f"output '{name}' is {BY_DTYPE[array.dtype].name}, and no text")
        texts = np.empty(array.shape, np.object_)
        try:
            texts.reshape(-1)[:] = [element.decode() for element in array.flat]
        except UnicodeDecodeError:
            raise InvalidArgumentError(
                f"output '{name}' has an element that is not UTF-8: take its bytes"
            ) from None
        return texts

    def classes(self, name: str) -> list[list[Class]]:
        """The classes of an output for which `classes=` has asked: for each row, from the highest value down. One row
        alone is a list of one. Raises InvalidArgumentError for any other output.
        """
        array = self[name]
        try:
            rows = array.reshape(-1, array.shape[-1]) if array.size else array.reshape(0, 0)
            return [[_class(element) for element in row] for row in rows]
        except (ValueError, AttributeError, UnicodeDecodeError, IndexError):
            raise InvalidArgumentError(
                f"output '{name}' has no classes: ask for them with classes={{{name!r}: 3}}"
            ) from None

    def row(self) -> "InferResult":
        """The only row, without the batch dimension."""
        outputs = {
            name: array.reshape(array.shape[1:]) if array.shape[:1] == (1,) else array
            for name, array in self._outputs.items()
        }
        return InferResult(
            outputs,
            id=self.id,
            model_name=self.model_name,
            model_version=self.model_version,
            parameters=self.parameters,
        )


def _class(text: bytes) -> Class:
    value, index, *label = text.decode().split(":", 2)
    return Class(float(value), int(index), *label)
