"""How the sequences of one model are scheduled, made from its configuration once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.messages import ParameterValue, SequenceStep
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.sequences.controls import Controls
from kserve_v2.scheduling.sequences.slots import SlotRules
from kserve_v2.scheduling.sequences.states import StateTensor


@dataclass(frozen=True, slots=True)
class SequenceRules:
    """`slots`: sequences that one instance may hold. `idle_ns`: after how much silence one ends. `direct`: the rules of
    the direct strategy; None for the oldest one, whose rules for batches are `batches`. `states`: what the server keeps
    from step to step. `iterative`: whether a request is a sequence of its own, which goes on for as long as the model
    asks for another round. `streams`: whether each round of those has a response.
    """

    slots: int
    idle_ns: int
    controls: Controls
    direct: SlotRules | None = None
    batches: BatchRules = ONE_AT_A_TIME
    states: tuple[StateTensor, ...] = ()
    iterative: bool = False
    streams: bool = False


def sequence_rules(config: ModelConfig, states: tuple[StateTensor, ...] = ()) -> SequenceRules | None:
    """The rules of a valid configuration; None for a model without sequences. `states`: those of the configuration."""
    if not config.HasField("sequence_batching"):
        return None
    batching, most = config.sequence_batching, max(config.max_batch_size, 1)
    decoupled = config.model_transaction_policy.decoupled
    rules = SequenceRules(
        most,
        batching.max_sequence_idle_microseconds * 1000,
        Controls(config),
        states=states,
        iterative=batching.iterative_sequence,
        streams=batching.iterative_sequence and decoupled,
    )
    # A model that yields its responses works on one request at a time.
    yields = decoupled and not rules.iterative
    if batching.HasField("oldest"):
        oldest = batching.oldest
        batches = BatchRules(
            config.max_batch_size,
            frozenset(oldest.preferred_batch_size),
            oldest.max_queue_delay_microseconds * 1000,
        )
        if yields or not config.max_batch_size:
            batches = ONE_AT_A_TIME
        return replace(rules, slots=oldest.max_candidate_sequences or most, batches=batches)
    if yields:
        return rules
    direct = batching.direct
    delay_ns = direct.max_queue_delay_microseconds * 1000
    return replace(rules, direct=SlotRules(most, delay_ns, direct.minimum_slot_utilization))


def step_of(control: Mapping[str, ParameterValue]) -> SequenceStep | None:
    """What the parameters of a request say of a sequence; None if nothing."""
    if not ("sequence_id" in control or "sequence_start" in control or "sequence_end" in control):
        return None
    sequence_id = control.get("sequence_id", 0)
    assert isinstance(sequence_id, int | str)  # noqa: S101 - as the codecs have it
    return SequenceStep(
        sequence_id, bool(control.get("sequence_start", False)), bool(control.get("sequence_end", False))
    )
