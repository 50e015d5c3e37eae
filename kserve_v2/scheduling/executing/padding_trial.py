"""Whether a model leaves the padding out, found out by trying when it is loaded.

A padded request is only answered as it is alone if the model honours lengths or a mask, which no configuration says. So
it is given two made-up requests of different lengths, together and each alone.
"""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from kserve_v2.backend import Instance
from kserve_v2.errors import InternalError, describe
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.executing.batching_trial import (
    MAX_ELEMENTS,
    MAX_SECONDS,
    Finding,
    Verdict,
    elements_of,
    made_up_rows,
    same_answer,
)
from kserve_v2.scheduling.merging.answers import split_answers
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.replies import NOBODY
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array

# The longer length that variable dimensions are made; the shorter one is half of it.
_SIZES = (8, 32, 224)
_SEEDS = 2


class _MisfitError(Exception):
    """What the model gives is not what the configuration says."""


class _TooLongError(Exception):
    """The model takes so long that it is tried no further."""


def try_padding(
    instance: Instance,
    merger: PaddedMerger,
    signature: ModelSignature,
    clock: Callable[[], float] = monotonic,
) -> Finding:
    """Compare. Whatever the model raises is no verdict: its inputs may have to be more than of the right type and
    shape. That an output is not as long as the configuration says is one. `clock`: in seconds.
    """
    deadline = clock() + MAX_SECONDS

    def answer(requests: Sequence[Mapping[str, Array]]) -> list[Outputs]:
        if clock() > deadline:
            raise _TooLongError
        # Copies: a model may write to its inputs.
        members = [_member({name: array.copy() for name, array in each.items()}) for each in requests]
        outputs = instance.execute(merger.merge(members), [pending.request for pending in members])
        try:
            return split_answers(outputs, members, merger, signature.model_name)
        except InternalError as error:
            raise _MisfitError(error.message) from error

    def _member(inputs: dict[str, Array]) -> Pending:
        return Pending(InferRequest(signature.model_name, inputs, checked=True), NOBODY)

    reason = "its inputs are too large"
    for size in _SIZES:
        if elements_of(signature, size) > MAX_ELEMENTS:
            continue
        try:
            return _compare(answer, signature, merger.padded, size)
        except _MisfitError as error:
            return Finding(Verdict.DEPENDENT, str(error))
        except _TooLongError:
            return Finding(Verdict.UNKNOWN, f"it was not tried for longer than {MAX_SECONDS:.0f} s")
        except BaseException as error:  # noqa: BLE001 - no verdict, whatever a plug-in raises
            reason = f"it does not take made-up inputs: {describe(error)}"
    return Finding(Verdict.UNKNOWN, reason)


def _compare(
    answer: Callable[[Sequence[Mapping[str, Array]]], list[Outputs]],
    signature: ModelSignature,
    padded: frozenset[str],
    size: int,
) -> Finding:
    for seed in range(_SEEDS):
        rows = made_up_rows(signature, size, seed)
        long = {name: array[:1] for name, array in rows.items()}
        short = {
            name: _shortened(array[1:2], signature.inputs[name].dims) if name in padded else array[1:2]
            for name, array in rows.items()
        }
        alone = [answer([each])[0] for each in (long, short)]
        for order in ((0, 1), (1, 0)):
            together = answer([(long, short)[number] for number in order])
            for number, found in zip(order, together, strict=True):
                for name, array in alone[number].items():
                    if array.shape != found[name].shape or not same_answer(array, found[name], array):
                        return Finding(
                            Verdict.DEPENDENT,
                            f"output '{name}' of a request is another one when it is padded beside a longer one; the "
                            "model has to leave the padding out, by lengths or by a mask",
                        )
    return Finding(Verdict.INDEPENDENT)


def _shortened(array: Array, dims: Sequence[int]) -> Array:
    sizes = zip(dims, array.shape[1:], strict=True)
    return array[(slice(None), *(slice(size // 2 if dim == -1 else size) for dim, size in sizes))]
