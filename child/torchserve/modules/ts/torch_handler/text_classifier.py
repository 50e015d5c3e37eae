"""Which of its classes a text is likely to be of."""

from __future__ import annotations

from typing import Any

import torch

from ts.handler_utils.text_utils import ngrams_iterator
from ts.handler_utils.timer import timed
from ts.torch_handler.text_handler import TextHandler
from ts.utils.util import map_class_to_label


class TextClassifier(TextHandler):
    """The probabilities of the classes of the first text of a batch: such models are not to have larger batches."""

    ngrams = 2

    @timed
    def preprocess(self, data: Any) -> tuple[torch.Tensor, list[str]]:
        """From the first row to the numbers of its words and pairs of words, and the words."""
        text = self._lowercase_text(self._remove_html_tags(self._text_of(data[0])))
        text = self._remove_punctuation(self._remove_accented_characters(self._expand_contractions(text)))
        words = self._tokenize(text)
        numbers = [self.source_vocab[each] for each in ngrams_iterator(words, self.ngrams)]
        return torch.as_tensor(numbers, device=self.device), words

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Of one text."""
        numbers, _ = data
        offsets = torch.as_tensor([0], device=self.device)
        return super().inference(numbers, offsets)

    @timed
    def postprocess(self, data: torch.Tensor) -> list[Any]:
        """All classes, in the order of their numbers."""
        return map_class_to_label(torch.nn.functional.softmax(data, dim=1).tolist(), self.mapping)

    def get_insights(self, text_preprocess: Any, _: Any, target: Any = 0) -> list[Any]:
        """How much what a text is embedded as adds to the score of the class `target`, against a text of the same
        length that has only the vocabulary's word 0.
        """
        if self.lig is None:
            raise RuntimeError(
                "to explain answers takes captum, which is not installed, or a model with an attribute 'embedding'"
            )
        numbers, words = text_preprocess
        offsets = torch.tensor([0], device=self.device)
        found = self.lig.attribute(
            numbers, torch.zeros_like(numbers), target=int(target), additional_forward_args=(offsets,)
        )
        importances = self.summarize_attributions(found)
        return [{"importances": importances.tolist(), "words": self.get_word_token(words)}]
