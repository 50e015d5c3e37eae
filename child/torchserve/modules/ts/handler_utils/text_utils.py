"""Words of texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Callable

_STEPS = [
    (re.compile(r"\'"), " '  "),
    (re.compile(r"\""), ""),
    (re.compile(r"\."), " . "),
    (re.compile(r"<br \/>"), " "),
    (re.compile(r","), " , "),
    (re.compile(r"\("), " ( "),
    (re.compile(r"\)"), " ) "),
    (re.compile(r"\!"), " ! "),
    (re.compile(r"\?"), " ? "),
    (re.compile(r"\;|\:"), " "),
    (re.compile(r"\s+"), " "),
]


def get_tokenizer(tokenizer: str = "basic_english", language: str = "en") -> Callable[[str], list[str]]:
    """What splits texts of English into words and punctuation."""
    if tokenizer != "basic_english" or language != "en":
        raise ValueError(f"tokenizer '{tokenizer}' for '{language}': there is basic_english for en")
    return _basic_english


def _basic_english(text: str) -> list[str]:
    text = text.lower()
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text.split()


def ngrams_iterator(token_list: Iterable[str], ngrams: int) -> Iterator[str]:
    """All words, then all pairs of them, and so on."""
    words = list(token_list)
    yield from words
    for length in range(2, ngrams + 1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])
