"""What can be wrong with what is encoded or decoded. The texts are those that MLServer's clients know."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import MLServerError
from ..types import RequestInput


class CodecNotFound(MLServerError):
    """No codec is for what is to be encoded or decoded."""

    def __init__(
        self,
        name: str | None = None,
        payload_type: str | None = None,
        is_input: bool = False,
        is_request: bool = False,
    ) -> None:
        what = f"{'input' if is_input else 'output'} "
        what += ("request" if is_input else "response") if is_request else "field"
        which = " and ".join(
            [*([f"name '{name}'"] if name else []), *([f"type {payload_type}"] if payload_type else [])]
        )
        super().__init__(
            f"Codec not found for {what} with {which}" if which else f"Codec not found for {what} "
        )


class CodecError(MLServerError):
    """A value cannot be encoded or decoded."""

    def __init__(self, msg: str) -> None:
        super().__init__(f"There was an error encoding / decoding the payload: {msg}")


class OutputNotFound(MLServerError):
    """A function gave more than, or something else than, its annotations say."""

    def __init__(self, output_idx: int, output_type: Any, output_hints: Iterable[Any]) -> None:
        expected = ", ".join(f"'{hint}'" for hint in output_hints)
        super().__init__(
            f"Unexpected output value at position '{output_idx}' ({output_type}). "
            f"Expected outputs are {expected} outputs."
        )


class InputsNotFound(MLServerError):
    """A request has inputs that a function does not take."""

    def __init__(self, inputs: Iterable[RequestInput], input_hints: Mapping[str, Any]) -> None:
        got = ", ".join(f"'{each.name}'" for each in inputs)
        known = ", ".join(f"'{name}'" for name in input_hints)
        super().__init__(f"Input {got} was not found. Available inputs are {known}.")
