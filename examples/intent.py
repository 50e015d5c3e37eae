"""intent: a text classifier trained on the phrases of `intent_phrases.tsv`, a part of which is held out."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_weights
from torch import Tensor, nn

from examples.sample_request import input_tensor, sample_request
from examples.source import handler_module

Report = Callable[[str], None]

PHRASES = Path(__file__).with_name("intent_phrases.tsv")
SEED = 20
EPOCHS = 40
BATCH_SIZE = 32
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 0.3
LABEL_SMOOTHING = 0.1
WIDTH = 24
BUCKETS = 2048
# A word that occurs once teaches nothing that its letter groups do not.
MIN_OCCURRENCES = 2
# The part of a phrase's tokens that is left out each time it is shown, so that no single word decides.
TOKEN_DROPOUT = 0.6

SAMPLE_TEXT = "could you wake me at half past seven?"

handler = handler_module("intent")


@dataclass(frozen=True)
class Phrase:
    """One line of the data: what somebody said, and what for."""

    text: str
    intent: str
    held_out: bool


@dataclass(frozen=True)
class Classifier:
    """A trained network, and what turns texts into its input and its output into intents."""

    network: Any
    vocabulary: dict[str, int]
    intents: tuple[str, ...]

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable intent of each text."""
        bags = [handler.token_ids(text, self.vocabulary, BUCKETS) for text in texts]
        with torch.inference_mode():
            best = self.network(*handler.pack(bags)).argmax(dim=1)
        return [self.intents[row] for row in best.tolist()]


def load_phrases() -> list[Phrase]:
    """The whole data set, in the order of the file."""
    with PHRASES.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Phrase(row["phrase"], row["intent"], row["split"] == "held_out") for row in rows]


def make(_repository: Path, report: Report) -> dict[str, bytes]:
    """Train; the files of the model `intent`."""
    torch.set_num_threads(1)  # so that sums are always added in the same order
    phrases = load_phrases()
    held_out = [phrase for phrase in phrases if phrase.held_out]
    classifier = train([phrase for phrase in phrases if not phrase.held_out], epochs=EPOCHS, report=report)
    report(f"held-out accuracy {accuracy(classifier, held_out):.3f}")
    sample = sample_request([input_tensor("text", "BYTES", [1, 1], [SAMPLE_TEXT])])
    return {**model_files(classifier), "sample_request.json": sample}


def train(phrases: Sequence[Phrase], *, epochs: int, report: Report, seed: int = SEED) -> Classifier:
    """Train a new classifier.

    The same phrases, seed and number of epochs give the same weights on the same machine.
    """
    vocabulary = build_vocabulary([phrase.text for phrase in phrases])
    intents = tuple(sorted({phrase.intent for phrase in phrases}))
    bags = [handler.token_ids(phrase.text, vocabulary, BUCKETS) for phrase in phrases]
    labels = torch.tensor([intents.index(phrase.intent) for phrase in phrases])
    generator = torch.Generator().manual_seed(seed)
    network = _new_network(len(vocabulary), len(intents), seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        losses = []
        for rows in torch.split(torch.randperm(len(bags), generator=generator), BATCH_SIZE):
            shown = [_dropped_out(bags[row], generator) for row in rows.tolist()]
            losses.append(_step(network, optimizer, shown, labels[rows]))
        schedule.step()
        if epoch % 10 == 0 or epoch == epochs:
            report(f"epoch {epoch}/{epochs}, loss {sum(losses) / len(losses):.4f}")
    return Classifier(network.eval(), vocabulary, intents)


def _step(network: Any, optimizer: torch.optim.Optimizer, bags: list[list[int]], labels: Tensor) -> float:
    """One update of the weights; returns the loss before it."""
    scores = network(*handler.pack(bags))
    loss = nn.functional.cross_entropy(scores, labels, label_smoothing=LABEL_SMOOTHING)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


def _dropped_out(bag: list[int], generator: torch.Generator) -> list[int]:
    kept = torch.rand(len(bag), generator=generator) >= TOKEN_DROPOUT
    return [token for token, keep in zip(bag, kept.tolist(), strict=True) if keep]


def _new_network(words: int, intents: int, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return handler.IntentNet(words + BUCKETS, WIDTH, intents)


def build_vocabulary(texts: Sequence[str]) -> dict[str, int]:
    """The words that are common enough to get a row of their own, with their rows."""
    counts = Counter(word for text in texts for word in set(handler.words(text)))
    common = sorted(word for word, count in counts.items() if count >= MIN_OCCURRENCES)
    return {word: row for row, word in enumerate(common)}


def accuracy(classifier: Classifier, phrases: Sequence[Phrase]) -> float:
    """The part of the phrases, 0 to 1, whose intent is recognised."""
    predicted = classifier.predict([phrase.text for phrase in phrases])
    hits = [intent == phrase.intent for intent, phrase in zip(predicted, phrases, strict=True)]
    return sum(hits) / len(hits)


def model_files(classifier: Classifier) -> dict[str, bytes]:
    """What the handler loads.

    The manifest comes last, so it is there only when the files that it vouches for are.
    """
    files = {
        "vocab.json": _json_lines(list(classifier.vocabulary)),
        "weights.safetensors": bytes(save_weights(classifier.network.state_dict())),
    }
    manifest = {
        "intents": classifier.intents,
        "width": WIDTH,
        "buckets": BUCKETS,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files["manifest.json"] = (json.dumps(manifest, indent=2) + "\n").encode()
    return {f"1/{name}": content for name, content in files.items()}


def _json_lines(words: Sequence[str]) -> bytes:
    """A JSON list with one element a line, so that a difference between two versions can be read."""
    return (json.dumps(words, indent=0, ensure_ascii=False) + "\n").encode()
