"""Who says that the requests of a model may be merged, and what becomes of a guess that the model does not bear out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kserve_v2.backend import Backend, GuessesBatching, ModelConfig
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.config.padding import PAD_VARIABLE_DIMS
from kserve_v2.config.ragged import joins
from kserve_v2.config.switches import SPLIT_LARGE_REQUESTS, TRY_BATCHING, switch
from kserve_v2.scheduling.executing.batching_trial import Finding, Verdict

logger = logging.getLogger(__name__)

SIZE_SETTING = "default-max-batch-size"
"""The setting of a backend that says which `max_batch_size` it chooses."""

_HINT = "write dynamic_batching { } into config.pbtxt if they may be"


@dataclass(frozen=True, slots=True)
class BatchingOrigin:
    """`rows_guessed`: the server chose `max_batch_size`. `merging_guessed`: it added `dynamic_batching`.
    `merging_asked`: the operator wrote that, or wants to know whether it is right. `tried`: whether the model is tried
    when it is loaded. `splitting`: what the operator wrote about large requests. `size_set`: the `max_batch_size` that
    the server chose is the one that the operator has set for all models.
    """

    rows_guessed: bool = False
    merging_guessed: bool = False
    merging_asked: bool = False
    tried: bool = False
    splitting: bool | None = None
    size_set: bool = False

    @classmethod
    def settled(cls, large: "LargeRequests") -> "BatchingOrigin":
        """For another copy of a version that is loaded: its configuration says whether requests are merged, and nothing
        is tried once more. `large`: what becomes of requests that are too large.
        """
        whole = large is LargeRequests.WHOLE
        return cls(rows_guessed=whole, splitting=None if whole else large is LargeRequests.SPLIT)

    @classmethod
    def of(
        cls, written: ModelConfig, completed: ModelConfig, backend: Backend, settings: Mapping[str, str]
    ) -> "BatchingOrigin":
        """Compare a configuration as it was read with the completed, valid one. `settings`: the operator's for the
        backend.
        """
        if completed.HasField("sequence_batching"):
            # Its rows are of different sequences: without their states and controls there is nothing to try.
            return cls()
        if joins(completed):
            # A batch is not made of rows, so rows prove nothing about it. Requests are merged as it is written.
            return cls()
        guesses = isinstance(backend, GuessesBatching)
        batches = completed.max_batch_size > 0
        merges = completed.max_batch_size > 1 and completed.HasField("dynamic_batching")
        rows_guessed = guesses and batches and written.max_batch_size == 0
        trying = switch(completed, TRY_BATCHING)
        # Whoever asks for the trial of a handler wants to be told.
        # Who has requests padded wants them merged, and to know if the model does not leave the padding out.
        padded = PAD_VARIABLE_DIMS in completed.parameters
        told = (
            padded
            or LATENCY_BUDGET_MS in completed.parameters
            or written.HasField("dynamic_batching")
            or (trying is True and not guesses)
        )
        asked = merges and told
        merging_guessed = guesses and merges and not asked
        decoupled = completed.model_transaction_policy.decoupled
        splitting = switch(completed, SPLIT_LARGE_REQUESTS)
        doubted = rows_guessed or merging_guessed or asked or splitting is True
        tried = (
            switch(completed, TRY_BATCHING) is not False
            and not decoupled
            and doubted
            and completed.max_batch_size > 1
        )
        size_set = SIZE_SETTING in settings
        return cls(rows_guessed, merging_guessed, asked, tried, splitting, size_set)


@dataclass(frozen=True, slots=True)
class BatchingDecision:
    """`rows_independent`: proved by a trial on each kind of device. `merges`: whether requests are merged.
    `batches`: whether the first dimension is a batch at all. `reason`: what the trials have shown against either; ""
    if nothing.
    """

    rows_independent: bool = False
    merges: bool = True
    batches: bool = True
    reason: str = ""


def decide_batching(model: str, origin: BatchingOrigin, findings: Sequence[Finding]) -> BatchingDecision:
    """Go by what the trials have shown: a guess has to be proved, what the operator wrote is done, with a warning.

    Logs one line where that differs from what the configuration says, or should say.
    """
    worst = _worst(findings)
    if origin.splitting and worst.verdict in (Verdict.DEPENDENT, Verdict.NOT_ROWS):
        logger.warning(
            "model '%s': %s cuts requests whose rows change each other's answers: %s. Remove that parameter from "
            "config.pbtxt", model, SPLIT_LARGE_REQUESTS, worst.reason,
        )  # fmt: skip
    if worst.verdict is Verdict.INDEPENDENT:
        return BatchingDecision(rows_independent=True)
    if origin.merging_asked:
        if worst.verdict is not Verdict.UNKNOWN:
            logger.warning(
                "model '%s': dynamic_batching merges requests that then change each other's answers: %s. %s", model,
                worst.reason, _remedy(worst.verdict),
            )  # fmt: skip
            return BatchingDecision(reason=worst.reason)
        return BatchingDecision()
    if not (origin.merging_guessed or origin.rows_guessed):
        return BatchingDecision()
    if worst.verdict is Verdict.NOT_ROWS and origin.rows_guessed:
        logger.warning("model '%s': served without a batch dimension: %s", model, worst.reason)
        return BatchingDecision(merges=False, batches=False, reason=worst.reason)
    if origin.merging_guessed:
        logger.warning("model '%s': requests are not merged: %s; %s", model, worst.reason, _HINT)
    return BatchingDecision(merges=not origin.merging_guessed, reason=worst.reason)


class LargeRequests(Enum):
    """What becomes of a request with more rows than `max_batch_size`."""

    REFUSED = "refused"
    SPLIT = "split"
    WHOLE = "whole"


def large_requests(origin: BatchingOrigin, *, independent: bool, merging: bool) -> LargeRequests:
    """A `max_batch_size` that the operator has chosen is a limit, unless he says otherwise. One that the server has
    chosen is a size to work with: requests are cut where rows are known to be independent, or the operator has them
    merged. Where that is not known, the model can have all rows at once: that is what its shapes say, and what it is
    asked for.
    """
    if origin.splitting is not None:
        return LargeRequests.SPLIT if origin.splitting else LargeRequests.REFUSED
    if not origin.rows_guessed:
        return LargeRequests.REFUSED
    if independent or merging:
        return LargeRequests.SPLIT
    return LargeRequests.REFUSED if origin.size_set else LargeRequests.WHOLE


def _worst(findings: Sequence[Finding]) -> Finding:
    return max(
        findings,
        key=lambda finding: _SEVERITY[finding.verdict],
        default=Finding(Verdict.UNKNOWN, "not tried"),
    )


_SEVERITY = {Verdict.INDEPENDENT: 0, Verdict.UNKNOWN: 1, Verdict.DEPENDENT: 2, Verdict.NOT_ROWS: 3}


def _remedy(verdict: Verdict) -> str:
    if verdict is Verdict.NOT_ROWS:
        return "Set max_batch_size to 0, with the first dimension as the first of dims, and remove dynamic_batching"
    return "Remove dynamic_batching from config.pbtxt"


def without_batch(config: ModelConfig) -> ModelConfig:
    """The same model with its first dimension among `dims`, and no scheduler."""
    plain = ModelConfig()
    plain.CopyFrom(config)
    plain.max_batch_size = 0
    plain.ClearField("dynamic_batching")
    tensors: list[Any] = [*plain.input, *plain.output]
    for tensor in tensors:
        shape = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
        tensor.dims[:] = [-1, *shape]
        tensor.ClearField("reshape")
    return plain
