"""A handler as TorchServe runs it: the intent of a short English text. Nothing in it knows kserve-v2.

Beside it in the archive lie `model.pth` (the weights), `vocab.pth` (a dict from words to rows) and `manifest.json` (the
classes, and the network's sizes), which is not the archive's own MAR-INF/MANIFEST.json.
"""

import json
import logging
import os
import re
import unicodedata
import zlib

import torch
from torch import nn
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import PredictionException

logger = logging.getLogger(__name__)

WORD = re.compile(r"\w+(?:'\w+)?")


class ModelHandler(BaseHandler):
    """Answers {"predict_res": intent, "score": its probability} to each request of a batch."""

    class TextClassificationModel(nn.Module):
        """Ids of words and letter groups, with the offset of each text, to the scores of the classes."""

        def __init__(self, rows, width, classes):
            super().__init__()
            self.embedding = nn.EmbeddingBag(rows, width, mode="mean")
            self.scores = nn.Linear(width, classes)

        def forward(self, ids, offsets):
            return self.scores(self.embedding(ids, offsets))

    def initialize(self, context):
        """Once for each worker."""
        self.context = context
        folder = context.system_properties.get("model_dir")
        gpu = context.system_properties.get("gpu_id")
        self.device = torch.device(f"cuda:{gpu}" if torch.cuda.is_available() and gpu is not None else "cpu")
        self.vocab = torch.load(os.path.join(folder, "vocab.pth"))
        with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
            self.manifest = json.load(file)
        rows = len(self.vocab) + self.manifest["buckets"]
        classes = self.manifest["classes"]
        self.model = self.TextClassificationModel(rows, self.manifest["width"], len(classes))
        weights = torch.load(os.path.join(folder, "model.pth"), map_location=self.device)
        self.model.load_state_dict(weights)
        self.model.to(self.device).eval()
        self.initialized = True
        logger.info("the intent classifier knows %d words and %d intents", len(self.vocab), len(classes))

    def preprocess(self, data):
        """What `nn.EmbeddingBag` takes: the ids of all texts one behind the other, and where each begins."""
        bags = [self.token_ids(text_of(row)) for row in data]
        offsets = [0]
        for bag in bags[:-1]:
            offsets.append(offsets[-1] + len(bag))
        ids = torch.tensor([token for bag in bags for token in bag], dtype=torch.int64)
        return ids.to(self.device), torch.tensor(offsets, dtype=torch.int64).to(self.device)

    def inference(self, data):
        """Probabilities."""
        with torch.inference_mode():
            return torch.softmax(self.model(*data), dim=1)

    def postprocess(self, data):
        """One answer for each request."""
        scores, best = data.max(dim=1)
        classes = self.manifest["classes"]
        return [
            {"predict_res": classes[str(number)], "score": round(score, 4)}
            for number, score in zip(best.tolist(), scores.tolist())
        ]

    def handle(self, data, context):
        """What TorchServe calls with each batch."""
        return self.postprocess(self.inference(self.preprocess(data)))

    def token_ids(self, text):
        """A row of the table for each known word, and one for every run of three or four letters."""
        words = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        known = [self.vocab[word] for word in words if word in self.vocab]
        buckets = self.manifest["buckets"]
        hashed = [zlib.crc32(group.encode()) % buckets for word in words for group in letter_groups(word)]
        return known + [len(self.vocab) + bucket for bucket in hashed]


def text_of(row):
    """The text of one request: a body or a form's field, as text, JSON or bytes."""
    value = row.get("data")
    if value is None:
        value = row.get("body")
    if isinstance(value, dict):
        value = value.get("data")
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("utf-8")
    if not isinstance(value, str):
        raise PredictionException('expected a text, a field "data" with one, or {"data": "a text"}', 400)
    return value


def letter_groups(word):
    """`<th`, `the`, `he>`, `<the`, `the>` of `the`."""
    marked = f"<{word}>"
    return [marked[start : start + length] for length in (3, 4) for start in range(len(marked) - length + 1)]
