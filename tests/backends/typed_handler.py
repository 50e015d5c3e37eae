"""A handler as annotations write it. Type checkers read it like any other file here: what they have to take, and where they
have to complain.
"""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import numpy as np

import kserve_v2
from kserve_v2 import FP32, Context, Image, InvalidArgumentError, Json, Request, Text


class Outputs(TypedDict):
    scores: Annotated[np.ndarray[Any, Any], FP32(2)]
    label: Text
    more: Json


class Model(kserve_v2.Model):
    max_batch_size = 0
    tensors = "numpy"

    def load(self, context: Context) -> None:
        self.asked = context.metrics.counter("asked_total", "Requests")
        self.answer_to_all = context.version
        self.context = context

    def __call__(
        self,
        image: Image,
        prompt: Text,
        weights: Annotated[np.ndarray[Any, Any], FP32(2)] | None = None,
        *,
        requests: Sequence[Request],
    ) -> Outputs:
        self.asked.increment()
        requests[0].response_parameters["height"] = image.shape[0]
        if not prompt:
            raise InvalidArgumentError("'prompt' is empty")
        scores = image.mean(axis=(0, 1))[:2].astype(np.float32)
        if weights is not None:
            scores = scores * weights
        return {"scores": scores, "label": prompt.upper(), "more": {"version": self.answer_to_all}}

    def ask(self, texts: list[Text], requests: Sequence[Request]) -> list[Text]:
        answer = self.context.call("other", {"text": np.array(texts)}, requests=requests)
        return [str(text) for text in answer["text"]]


class Wrong(kserve_v2.Model):
    max_batch_size = "8"  # type: ignore[assignment]

    def load(self, context: Text) -> None:  # type: ignore[override]
        self.length = context.length  # type: ignore[attr-defined]
