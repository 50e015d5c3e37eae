"""Answers by name: one object, in which each output of the model is a member."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.generate_values import Layout
from kserve_v2.rest.json_tensor import dumped
from kserve_v2.rest.json_values import as_lists, writable
from kserve_v2.rest.large_json import TEXTS_OR_BASE64, Gaps, is_large_value, written, written_text
from kserve_v2.scheduling.slices import Slices
from kserve_v2.tensors.classification import highest
from kserve_v2.tensors.datatypes import BOOL, BYTES, Array

CLASSES = "classes"
"""The member of the query that asks for the highest values of an output, with their labels."""


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
                continue
            value = self._value(name, array if is_large_value(array) else writable(array))
            if isinstance(value, bytes):
                value = gaps.gap((yield from written_text(value, name, TEXTS_OR_BASE64)))
            elif isinstance(value, np.ndarray) and is_large_value(value):
                value = gaps.gap((yield from written(value, name, TEXTS_OR_BASE64)))
            elif isinstance(value, np.ndarray):
                value = as_lists(value)
            document[name] = value
        return gaps.fill(dumped(document, orjson.OPT_SORT_KEYS))

    def _value(self, name: str, written: Array) -> Any:
        """What an output is written as: an array, or an element of it."""
        if not self.layout.by_shape:
            # As Triton: a tensor of one element is that element.
            flat = written.reshape(-1)
            return flat[0] if flat.size == 1 else flat
        if self._hides_rows(written):
            written = written[0]
        declared = self.model.signature.outputs.get(name)
        single = declared is not None and written.size == 1 and set(declared.dims) <= {1}
        return written.reshape(-1)[0] if single and not self.layout.rows else written

    def _hides_rows(self, array: Array) -> bool:
        """Whether an output is written without its batch dimension."""
        return self.model.batched and not self.layout.rows and array.ndim > 0 and len(array) == 1

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
    classes = _classes_asked(query) if query else 0
    return AnswerForm(model, layout, classes, _classified(model) if classes else ())


def _classes_asked(query: bytes) -> int:
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(CLASSES)
    if not values:
        return 0
    text = values[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise InvalidArgumentError(
            f"{CLASSES}: expected how many classes to give, 1 or more, got '{text[:32]}'"
        )
    return int(text)


def _classified(model: LoadedModel) -> Sequence[str]:
    """The outputs that are classes: those with labels, or else the only one that has numbers."""
    outputs = model.signature.outputs
    if labelled := [name for name in outputs if model.labels.get(name)]:
        return labelled
    numbers = [name for name, output in outputs.items() if output.datatype not in (BOOL, BYTES)]
    if len(numbers) != 1:
        raise InvalidArgumentError(
            f"{CLASSES}: no output of model '{model.name}' has labels, and {len(numbers)} of them have numbers; "
            "label_filename in the model's configuration names labels for an output"
        )
    return numbers
