"""Answers that differ from an earlier one in nothing but their id and the contents of their tensors: what they have in
common is written once, and remembered.

As with the forms of requests, nothing is kept unless it was seen to give the very bytes that the codec has given.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from kserve_v2.memory.remembered import Remembered
from kserve_v2.messages import is_one_memory
from kserve_v2.tensors.datatypes import Array

T = TypeVar("T")

Key = tuple[object, ...]
"""All that what is in common depends on."""

Parts = Sequence[bytes | memoryview]

MAX_REMEMBERED_BYTES = 4 * 1024 * 1024
"""The most memory that the answers of one front end may take together."""

# Views of less are compared as bytes.
_SMALL_BYTES = 64 * 1024


class KnownAnswers(Remembered[Key, T]):
    """What the answers of one server have in common."""

    def __init__(self) -> None:
        super().__init__(MAX_REMEMBERED_BYTES)

    def note(
        self,
        key: Key,
        make: Callable[[], tuple[T, int] | None],
        written: Callable[[], Parts | None],
        expected: Callable[[], Parts],
    ) -> None:
        """Note an answer that is not known, at its second time. `make`: what it has in common with others, and about
        how many bytes that takes; None for what is not so simple. `written`: the answer by way of that; None where that
        gives none. `expected`: by way of the codec.
        """
        made = make() if self.is_seen_again(key) else None
        if made is None:
            return
        self.keep(key, *made)
        # What is too large is not kept.
        if key in self:
            found = written()
            if found is None or not same_parts(found, expected()):
                self.forget(key)


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
