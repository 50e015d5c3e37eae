"""Requests and responses of the deliberately wrong server, free of any wire format."""

from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """An error for the client. `kind`: INVALID, NOT_FOUND, UNAVAILABLE, UNIMPLEMENTED or INTERNAL."""

    def __init__(self, text: str, kind: str = "INVALID") -> None:
        super().__init__(text)
        self.kind = kind


class Pretended(Exception):
    """Instead of an error: a defect has switched off the check, so a success without meaning is answered."""


@dataclass
class Input:
    """An input whose values are decoded already."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any


@dataclass
class Request:
    """`outputs`: names and parameters, None for all."""

    model: str
    version: str
    id: str
    parameters: dict[str, Any]
    inputs: list[Input]
    outputs: list[tuple[str, dict[str, Any]]] | None


@dataclass
class Output:
    name: str
    datatype: str
    values: Any
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class Response:
    model: str
    version: str
    id: str
    outputs: list[Output]
    parameters: dict[str, Any] = field(default_factory=dict)
