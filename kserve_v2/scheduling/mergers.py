"""Which of the ways to make a batch of requests is a model's."""

from kserve_v2.backend import Model, ModelConfig, separates_requests
from kserve_v2.config.padding import padding_of
from kserve_v2.config.ragged import joins
from kserve_v2.scheduling.merge import Merger, RowMerger
from kserve_v2.scheduling.merge_padded import PaddedMerger
from kserve_v2.scheduling.merge_ragged import RaggedMerger
from kserve_v2.scheduling.merge_separate import SeparateMerger
from kserve_v2.scheduling.signature import ModelSignature


def make_merger(config: ModelConfig, signature: ModelSignature, model: Model) -> Merger:
    """The merger of a loaded model, by its valid configuration."""
    if separates_requests(model):
        return SeparateMerger(signature)
    if joins(config) and config.backend != "python":
        return RaggedMerger(config, signature)
    padding = padding_of(config)
    if padding is not None:
        return PaddedMerger(signature, padding)
    return RowMerger(signature)
