"""Samples for models whose configuration has none: of every size of batch that matters, where all shapes are known."""

import numpy as np

from kserve_v2.scheduling.executing.batching_trial import MAX_ELEMENTS, elements_of, made_up_values
from kserve_v2.scheduling.queueing.policy import BatchRules
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.warm_up import Sample

COUNT = 3
"""How often each sample is executed: TorchScript looks at what it executes for two times before it compiles it."""


def made_up_samples(spec: ModelSpec, rules: BatchRules) -> tuple[Sample, ...]:
    """One for each size of batch. `rules`: those for batches, which trials may have changed. None where a shape varies,
    and none that is too large.
    """
    signature = spec.signature
    if not signature.fixed_shapes or not signature.inputs:
        return ()
    return tuple(
        _sample(size, spec, merged=bool(rules.max_rows) or spec.sequences is not None)
        for size in _sizes(signature, spec, rules)
        if elements_of(signature, 1, size) <= MAX_ELEMENTS
    )


def _sizes(signature: ModelSignature, spec: ModelSpec, rules: BatchRules) -> list[int]:
    """The smallest first: if the time is not enough, it is for what is most usual."""
    if spec.decoupled or not signature.max_batch_size:
        return [1]
    preferred = {size for size in rules.preferred_rows if size <= signature.max_batch_size}
    return sorted({1, *preferred, signature.max_batch_size})


def _sample(size: int, spec: ModelSpec, *, merged: bool) -> Sample:
    requests, rows = (size, 1) if merged else (1, size)
    batch = (rows,) if spec.signature.max_batch_size else ()
    random = np.random.default_rng(0)
    inputs = {
        name: made_up_values(random, tensor.datatype.dtype, batch + tensor.dims, 0)
        for name, tensor in spec.signature.inputs.items()
    }
    return Sample(f"batch of {size}", inputs, requests, rows, COUNT)
