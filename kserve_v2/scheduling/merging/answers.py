"""The answers of an instance that answers each request of a batch by itself."""

from collections.abc import Iterable, Sequence
from typing import Any

from kserve_v2.errors import InternalError
from kserve_v2.messages import Answers, Tensors
from kserve_v2.scheduling.merging.rows import Merger
from kserve_v2.scheduling.pending import Outputs, Pending


def one_answer_each(answers: Any, members: Sequence[Pending], model: str) -> Iterable[tuple[Pending, Any]]:
    """The members of a batch, each with its answer. Raises InternalError if there are not as many."""
    is_list = issubclass(type(answers), list | tuple)
    if not is_list or len(answers) != len(members):
        got = f"{len(answers)} answers" if is_list else type(answers).__name__
        raise InternalError(
            f"model '{model}' gave {got} to {len(members)} requests, expected a list with one dict for each"
        )
    return zip(members, answers, strict=True)


def is_failure(answer: object) -> bool:
    """Whether an exception stands in the place of one of them."""
    # `issubclass` of the type, here and above: `isinstance` could run code of the plug-in's object.
    return issubclass(type(answer), BaseException)


def tensors_of(answer: Any) -> Tensors:
    """One of them. Raises the exception that stands in its place."""
    if is_failure(answer):
        raise answer
    tensors: Tensors = answer
    return tensors


def split_answers(answers: Answers, members: Sequence[Pending], merger: Merger, model: str) -> list[Outputs]:
    """The outputs of each member, whichever way they were given. Raises what any of them has failed with."""
    if not merger.separate and type(answers) is not list:
        return merger.split(merger.check(tensors_of(answers), members), members)
    return [
        merger.split(merger.check(tensors_of(answer), (pending,)), (pending,))[0]
        for pending, answer in one_answer_each(answers, members, model)
    ]
