"""Answers that differ from an earlier one in nothing but their id and the contents of their tensors: what they have in
common is written once, and remembered.

As with the forms of requests, nothing is kept unless it was seen to give the very bytes that the codec has given.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from kserve_v2.memory.remembered import Remembered
from kserve_v2.messages import InferResponse, is_one_memory
from kserve_v2.tensors.datatypes import Array

T = TypeVar("T")

Key = tuple[object, ...]
"""All that what is in common depends on."""

Parts = Sequence[bytes | memoryview]

MAX_REMEMBERED_BYTES = 4 * 1024 * 1024
"""The most memory that the answers of one front end may take together."""

# Views of less are compared as bytes.
_SMALL_BYTES = 64 * 1024


class KnownAnswers(Generic[T]):
    """What the answers of one front end have in common. A subclass says what that is, and how answers are written."""

    def __init__(self) -> None:
        self._known: Remembered[Key, T] = Remembered(MAX_REMEMBERED_BYTES)

    def common(self, response: InferResponse) -> tuple[T, int] | None:
        """What an answer has in common with others, and about how many bytes that takes; None if that is not simple."""
        raise NotImplementedError

    def written(self, common: T, response: InferResponse) -> Parts | None:
        """An answer by way of that; None where that gives none."""
        raise NotImplementedError

    def expected(self, response: InferResponse) -> Parts:
        """The answer by way of the codec."""
        raise NotImplementedError

    def find(self, key: Key, response: InferResponse) -> Parts | None:
        """An answer that is known. None for one that is for the codec: such a one is noted, at its second time."""
        common = self._known[key]
        return self._note(key, response) if common is None else self.written(common, response)

    def _note(self, key: Key, response: InferResponse) -> Parts | None:
        made = self.common(response) if self._known.is_seen_again(key) else None
        if made is None:
            return None
        self._known.keep(key, *made)
        # What is too large is not kept.
        written = self.written(made[0], response) if key in self._known else None
        if written is None or not same_parts(written, self.expected(response)):
            self._known.forget(key)
            return None
        return written


def same_parts(left: Parts, right: Parts) -> bool:
    """Whether two encodings of one answer are the same bytes. Views of one tensor are not compared with each other."""
    texts, contents = zip(*map(_divided, (left, right)), strict=True)
    return (
        texts[0] == texts[1]
        and len(contents[0]) == len(contents[1])
        and all(
            (len(one) == len(other) and is_one_memory(one, other)) or np.array_equal(one, other)
            for one, other in zip(*contents, strict=True)
        )
    )


def _divided(parts: Parts) -> tuple[list[bytes], list[Array]]:
    """The large tensors, which are sent without a copy, and what is around them."""
    texts, contents = [b""], []
    for part in parts:
        if len(part) <= _SMALL_BYTES or isinstance(part, bytes):
            texts[-1] += part
        else:
            contents.append(np.frombuffer(part, np.uint8))
            texts.append(b"")
    return texts, contents
