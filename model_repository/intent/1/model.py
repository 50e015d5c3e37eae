"""Says what a person wants, from a short English text: words and letter groups, averaged and classified.

A handler is a plain class called `Model`. The files that it needs lie beside it in the version's directory:

- `manifest.json`: the intents in the order of the scores, the network's sizes, the other files' checksums
- `vocab.json`: the known words; a word's position is its row in the embedding table
- `weights.safetensors`

`examples/intent.py` takes network and tokens from here, so that training and serving cannot drift apart.
"""

import hashlib
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_weights
from torch import Tensor, nn

from kserve_v2.errors import InvalidArgumentError

MAX_TEXT_BYTES = 4096
WORD = re.compile(r"\w+(?:'\w+)?")


class IntentNet(nn.Module):
    """Token ids (flat, with the offset of each text) to one row of log-probabilities per text."""

    def __init__(self, tokens: int, width: int, intents: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(tokens, width, mode="mean")
        self.scores = nn.Linear(width, intents)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        return torch.log_softmax(self.scores(self.embedding(ids, offsets)), dim=1)


def words(text: str) -> list[str]:
    """The words of a text, in any script, without case and punctuation."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def token_ids(text: str, vocabulary: Mapping[str, int], buckets: int) -> list[int]:
    """The rows of the embedding table that a text is made of.

    A known word has a row of its own, below len(vocabulary). The letter groups of every word are hashed into
    the `buckets` rows behind those, so that a misspelt, inflected or new word still finds its relatives.
    """
    found = words(text)
    known = [vocabulary[word] for word in found if word in vocabulary]
    hashed = [zlib.crc32(group.encode()) % buckets for word in found for group in _letter_groups(word)]
    return known + [len(vocabulary) + bucket for bucket in hashed]


def _letter_groups(word: str) -> Iterator[str]:
    """Every run of three or four letters, the word's ends marked: `<th`, `the`, `he>`, `<the`, `the>`."""
    marked = f"<{word}>"
    for length in (3, 4):
        for start in range(len(marked) - length + 1):
            yield marked[start : start + length]


def pack(bags: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Texts of unequal length as `nn.EmbeddingBag` takes them: all ids in one row, and each text's offset."""
    ids = torch.tensor([token for bag in bags for token in bag], dtype=torch.int64)
    offsets = torch.tensor([0, *accumulate(len(bag) for bag in bags[:-1])], dtype=torch.int64)
    return ids, offsets


class Model:
    """The handler. The server asks it for its tensors, loads it, and calls it with one batch at a time."""

    inputs = {"text": ("BYTES", [1])}
    outputs = {"intent": ("BYTES", [1]), "score": ("FP32", [1])}
    max_batch_size = 64
    tensors = "torch"
    thread_safe = True  # nothing changes after `load`, so one copy of the weights serves all instances

    def load(self, context: Any) -> None:
        manifest = json.loads((context.path / "manifest.json").read_text(encoding="utf-8"))
        sha256 = manifest["sha256"]
        known_words = json.loads(_read_checked(context.path / "vocab.json", sha256))
        weights = load_weights(_read_checked(context.path / "weights.safetensors", sha256))
        self.vocabulary = {word: row for row, word in enumerate(known_words)}
        self.buckets = int(manifest["buckets"])
        self.intents = np.array([intent.encode() for intent in manifest["intents"]], dtype=np.object_)
        self.device = context.device
        network = IntentNet(len(self.vocabulary) + self.buckets, manifest["width"], len(self.intents))
        network.load_state_dict(weights)
        self.network = network.eval().to(self.device)

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        texts = [_text(value) for value in inputs["text"].reshape(-1)]
        ids, offsets = pack([token_ids(text, self.vocabulary, self.buckets) for text in texts])
        with torch.inference_mode():
            log_probabilities = self.network(ids.to(self.device), offsets.to(self.device))
            scores, best = log_probabilities.exp().max(dim=1, keepdim=True)
        return {"intent": self.intents[best.cpu().numpy()], "score": scores}


def _read_checked(path: Path, sha256: Mapping[str, str]) -> bytes:
    """Read a file of this version; one of another version would give wrong answers without any error."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256[path.name]:
        raise InvalidArgumentError(f"{path.name} is not the file that manifest.json was written for")
    return content


def _text(value: bytes) -> str:
    """One element of the input `text`, or an error that the client can act on."""
    if len(value) > MAX_TEXT_BYTES:
        raise InvalidArgumentError(f"input 'text': expected at most {MAX_TEXT_BYTES} bytes, got {len(value)}")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise InvalidArgumentError(f"input 'text': expected UTF-8, got {reason}") from None
