"""Which of the ways to make a batch of requests is a model's."""

from kserve_v2.backend import Model, ModelConfig, separates_requests
from kserve_v2.config.padding import padding_of
from kserve_v2.config.ragged import joins
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.merging.ragged import RaggedMerger
from kserve_v2.scheduling.merging.rows import Merger, RowMerger
from kserve_v2.scheduling.merging.separate import SeparateMerger
from kserve_v2.scheduling.sequences.controls import ControlMerger
from kserve_v2.scheduling.sequences.rounds import RoundMerger
from kserve_v2.scheduling.sequences.rules import SequenceRules
from kserve_v2.scheduling.sequences.states import StateMerger
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.verbatim import VerbatimMerger


def make_merger(
    config: ModelConfig, signature: ModelSignature, model: Model, sequences: SequenceRules | None
) -> Merger:
    """The merger of a loaded model, by its valid configuration."""
    merger = _plain_merger(config, signature, model)
    return merger if sequences is None else _sequence_merger(merger, sequences, signature)


def _plain_merger(config: ModelConfig, signature: ModelSignature, model: Model) -> Merger:
    if signature.verbatim:
        return VerbatimMerger(signature.model_name)
    if separates_requests(model):
        return SeparateMerger(signature)
    if joins(config) and config.backend != "python":
        return RaggedMerger(config, signature)
    padding = padding_of(config)
    if padding is not None:
        return PaddedMerger(signature, padding)
    return RowMerger(signature)


def _sequence_merger(merger: Merger, rules: SequenceRules, signature: ModelSignature) -> Merger:
    """Adds what belongs to sequences."""
    if rules.iterative:
        merger = RoundMerger(merger, signature, streams=rules.streams)
    if rules.controls:
        merger = ControlMerger(merger, rules.controls)
    return StateMerger(merger, rules.states, signature) if rules.states else merger
