"""What handlers of texts derive from."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ts.handler_utils import text_cleaning
from ts.handler_utils.text_utils import get_tokenizer
from ts.torch_handler.base_handler import BaseHandler

logger = logging.getLogger(__name__)


class TextHandler(BaseHandler):
    """Has a vocabulary beside the model, and cleans texts."""

    def __init__(self) -> None:
        super().__init__()
        self.source_vocab: Any = None
        self.tokenizer = get_tokenizer("basic_english")

    def initialize(self, context: Any) -> None:
        """Load vocabulary and model."""
        super().initialize(context)
        self.initialized = False
        file = self.get_source_vocab_path(context)
        try:
            self.source_vocab = torch.load(file, weights_only=True)
        except FileNotFoundError:
            raise RuntimeError(f"the archive has no {Path(file).name}, which text handlers need") from None
        except Exception as error:
            raise RuntimeError(
                f"{Path(file).name} cannot be loaded: it is to be a dict of numbers by their words, written by "
                f"torch.save, and not a Vocab of torchtext's: {str(error).strip().splitlines()[0]}"
            ) from error
        self.initialized = True

    def get_source_vocab_path(self, ctx: Any) -> str:
        """Where the vocabulary lies. The manifests of old archives name it."""
        named = ctx.manifest.get("model", {}).get("sourceVocab") or "source_vocab.pt"
        return str(Path(ctx.system_properties.get("model_dir"), named))

    @cached_property
    def lig(self) -> Any:
        """What explains answers; None if that cannot be done."""
        try:
            from captum.attr import LayerIntegratedGradients  # noqa: PLC0415 - only where answers may be explained
        except ImportError:
            return None
        layer = getattr(self.model, "embedding", None)
        return None if layer is None else LayerIntegratedGradients(self.model, layer)

    def get_word_token(self, input_tokens: Any) -> list[str]:
        """The words of a text, as an explanation names them, without the mark of byte-pair tokenizers."""
        return [str(each).replace("\u0120", "") for each in input_tokens]

    def summarize_attributions(self, attributions: Any) -> Any:
        """Attributions on one scale, in the shape in which they are given."""
        # The dimension that torch takes where none is named, as TorchServe does.
        scaled = torch.softmax(attributions, dim=0 if attributions.ndim in (0, 1, 3) else 1)
        return scaled / torch.norm(scaled.sum(dim=-1))

    # --- texts ------------------------------------------------------------------------------------------------------

    def _expand_contractions(self, text: str) -> str:
        return text_cleaning.expand_contractions(text)

    def _remove_accented_characters(self, text: str) -> str:
        return text_cleaning.remove_accented_characters(text)

    def _remove_punctuation(self, *args: str, **_: Any) -> Any:
        cleaned = tuple(map(text_cleaning.remove_punctuation, args))
        return cleaned[0] if len(cleaned) == 1 else cleaned

    def _remove_html_tags(self, text: str) -> str:
        return text_cleaning.remove_html_tags(text)

    def _lowercase_text(self, text: str) -> str:
        return text.lower()

    def _remove_puncutation(self, *args: str, **kwargs: Any) -> Any:
        """In TorchServe's spelling."""
        return self._remove_punctuation(*args, **kwargs)

    def _tokenize(self, text: str) -> list[str]:
        return list(self.tokenizer(text))

    def _text_of(self, row: Any) -> str:
        text = row.get("data") or row.get("body")
        if isinstance(text, (bytes, bytearray)):
            return bytes(text).decode("utf-8")
        return text if isinstance(text, str) else json.dumps(text)
