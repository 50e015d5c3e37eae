"""One inference request, before it is written down for a protocol."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kserve_v2.bench.errors import BenchUsageError
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_NAME, Array, datatype_of
from kserve_v2.tensors.json_request import tensor_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One input. `parameters`: as they are sent in JSON."""

    name: str
    array: Array
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def datatype(self) -> str:
        """The protocol's name of it."""
        return datatype_of(self.array).name


@dataclass(frozen=True, slots=True)
class Document:
    """One request. `outputs`: as in JSON; None for all of them."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Json, ...] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Of the batch, if the first dimension is that."""
        return int(self.inputs[0].array.shape[0]) if self.inputs and self.inputs[0].array.ndim else 1

    def with_inputs(self, inputs: Iterable[Tensor]) -> "Document":
        """The same with others."""
        return replace(self, inputs=tuple(inputs))


def read_documents(path: Path) -> list[Document]:
    """The requests of a file: one in JSON, a JSON list of several, or one on each line. Raises BenchUsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchUsageError(f"--request {path}: {getattr(error, 'strerror', None) or error}") from None
    found = _parsed(text, path)
    if not found:
        raise BenchUsageError(f"--request {path}: there is no request in it")
    documents = []
    for number, each in enumerate(found, 1):
        where = f"--request {path}" + (f", request {number}" if len(found) > 1 else "")
        documents.append(document_of(each, where))
    return documents


def _parsed(text: str, path: Path) -> list[Any]:
    try:
        whole = json.loads(text)
    except ValueError as error:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise BenchUsageError(f"--request {path}: not JSON: {error}") from None
    return whole if isinstance(whole, list) else [whole]


def document_of(request: Any, where: str) -> Document:
    """A request in JSON, as `/infer` takes it. Raises BenchUsageError that begins with `where`."""
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise BenchUsageError(
            f'{where}: expected a request as /v2/models/M/infer takes it: {{"inputs": [...]}}'
        )
    inputs = tuple(_tensor(each, where) for each in request["inputs"])
    outputs = request.get("outputs")
    parameters = request.get("parameters", {})
    if not isinstance(parameters, dict) or not isinstance(outputs, list | None):
        raise BenchUsageError(f"{where}: expected an object 'parameters' and a list 'outputs'")
    return Document(inputs, None if outputs is None else tuple(outputs), parameters)


def _tensor(entry: Any, where: str) -> Tensor:
    try:
        name, datatype, *_ = (entry[key] for key in ("name", "datatype", "shape", "data"))
    except (KeyError, TypeError):
        raise BenchUsageError(
            f"{where}: expected inputs with name, datatype, shape and data; got {str(entry)[:100]}"
        ) from None
    parameters = entry.get("parameters", {})
    if not isinstance(datatype, str) or datatype not in BY_NAME:
        raise BenchUsageError(f"{where}: input '{name}': unknown datatype {datatype!r}")
    try:
        return Tensor(str(name), tensor_of(entry), parameters)
    except InvalidArgumentError as error:
        raise BenchUsageError(f"{where}: {error.message}") from None
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BenchUsageError(f"{where}: input '{name}': {error}") from None
