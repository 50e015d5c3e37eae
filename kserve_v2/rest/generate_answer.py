"""Answers by name: one object, in which each output of the model is a member; or a file, the bytes of an output as they
are, for clients whose Accept header prefers one to JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.large import Gaps, shown
from kserve_v2.json_data.tensors import dumped
from kserve_v2.messages import InferResponse
from kserve_v2.net.preferences import preferred
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.file_kinds import FILE_TYPES, kind_of_file
from kserve_v2.rest.generate_codec import Layout
from kserve_v2.scheduling.slices import Slices
from kserve_v2.tensors.classification import highest
from kserve_v2.tensors.datatypes import BOOL, BYTES, Array

# The member of the query that asks for the highest values of an output, with their labels.
_CLASSES = "classes"

_JSON = ("application/json", "application/*", "*/*")

# What some programs call them.
_SYNONYMS = {
    "image/jpg": "image/jpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
}


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How the responses to one request are written. `classes`: how many of each output in `classified`."""

    model: LoadedModel
    layout: Layout
    classes: int
    classified: Sequence[str]

    def encode(self, response: InferResponse) -> Slices[Sequence[bytes]]:
        """A response as an object, its members in alphabetical order, in parts. Raises InvalidArgumentError for an
        output that cannot be written as it was asked for.
        """
        document: dict[str, Any] = {
            "model_name": response.model_name,
            "model_version": response.model_version,
        }
        if response.id:
            document["id"] = response.id
        document.update(response.parameters)
        gaps = Gaps()
        for name, array in response.outputs.items():
            if name in self.classified:
                document[name] = self._classes(name, array)
            else:
                document[name] = yield from shown(self._laid_out(name, array), name, gaps)
        return gaps.fill(dumped(document, orjson.OPT_SORT_KEYS))

    def _laid_out(self, name: str, array: Array) -> Array:
        """An output in the shape that it is written in, without dimensions if that is its one element."""
        if not self.layout.by_shape:
            # As Triton: a tensor of one element is that element.
            return array.reshape(() if array.size == 1 else -1)
        if self.layout.rows:
            return array
        declared = self.model.signature.outputs.get(name)
        if declared is not None and array.size == 1 and set(declared.dims) <= {1}:
            return array.reshape(())
        # Without the batch dimension.
        return array[0, ...] if self.model.batched and array.ndim and len(array) == 1 else array

    def _classes(self, name: str, array: Array) -> Any:
        labels = self.model.labels.get(name, ())
        rows = [
            [
                # What has no label says so by having none.
                {"index": position, **({"label": label} if label else {}), "value": value}
                for value, position, label in row
            ]
            for row in highest(array, self.classes, labels, batched=self.model.batched)
        ]
        return rows[0] if len(rows) == 1 and not self.layout.rows else rows


def answer_form(model: LoadedModel, layout: Layout, query: bytes) -> AnswerForm:
    """The form of the answers to a request of which `query` stands behind the path. Raises InvalidArgumentError for
    classes that cannot be given.
    """
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(_CLASSES) if query else None
    if not values:
        return AnswerForm(model, layout, 0, ())
    text = values[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise InvalidArgumentError(
            f"{_CLASSES}: expected how many classes to give, 1 or more, got '{text[:32]}'"
        )
    return AnswerForm(model, layout, int(text), _classified(model))


def _classified(model: LoadedModel) -> Sequence[str]:
    """The outputs that are classes: those with labels, or else the only one that has numbers."""
    outputs = model.signature.outputs
    if labelled := [name for name in outputs if model.labels.get(name)]:
        return labelled
    numbers = [name for name, output in outputs.items() if output.datatype not in (BOOL, BYTES)]
    if len(numbers) != 1:
        raise InvalidArgumentError(
            f"{_CLASSES}: no output of model '{model.name}' has labels, and {len(numbers)} of them have numbers; "
            "label_filename in the model's configuration names labels for an output"
        )
    return numbers


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileWanted:
    """What a client takes. `types`: those of files, `image/*` among them. `or_json`: what else JSON is, if need be."""

    types: tuple[str, ...]
    or_json: bool

    def found(self, response: InferResponse) -> tuple[str, Sequence[bytes]] | None:
        """Type and bytes, in one part, of the file in an answer; None where it has to be JSON. Raises
        InvalidArgumentError if the client takes neither what there is nor JSON.
        """
        files = {name: array for name, array in response.outputs.items() if array.dtype == BYTES.dtype}
        wanted = ", ".join(self.types)
        problem = f"there is no output of BYTES that could be {wanted}"
        if len(files) > 1:
            problem = f"there are several outputs of BYTES ({', '.join(files)}), and which one is {wanted} is not said"
        elif files:
            ((name, array),) = files.items()
            kind = kind_of_file(array.reshape(-1)[0]) if array.size == 1 else ""
            if kind and (kind in self.types or f"{kind.partition('/')[0]}/*" in self.types):
                return kind, (array.reshape(-1)[0],)
            what = kind or "of no known kind" if array.size == 1 else f"{array.size} elements"
            problem = f"output '{name}' is {what}, and {wanted} was asked for"
        if self.or_json:
            return None
        raise InvalidArgumentError(f"{problem}; with 'Accept: application/json' the answer is JSON")


def file_wanted(accept: bytes) -> FileWanted | None:
    """What an Accept header asks for; None if that is JSON, or what is answered as such."""
    kinds = [_SYNONYMS.get(kind, kind) for kind in preferred(accept)]
    # Others are answered in JSON, as they are by Triton, which does not look at the header.
    if not kinds or not kinds[0].startswith(FILE_TYPES):
        return None
    types = tuple(kind for kind in kinds if kind.startswith(FILE_TYPES))
    return FileWanted(types, any(kind in _JSON for kind in kinds))
