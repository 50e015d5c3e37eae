"""Whoever shares requests: which version is asked, what is counted, and that nothing is kept alive."""

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from kserve_v2.config.release import Split, Sticky
from kserve_v2.errors import UnavailableError
from kserve_v2.messages import InferRequest
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.choose import choose
from kserve_v2.repository.routing.split_model import SplitCounts, SplitModel


class Version:
    """Stands for a loaded version, as far as the split looks at one."""

    name, path, config, labels, batched, batching, sequences = "m", Path("m"), None, None, False, None, None

    def __init__(self, version: int, *, down: str = "", decoupled: bool = False) -> None:
        self.version, self.down, self.decoupled = version, down, decoupled
        self.signature = object.__new__(Signature)
        self.submitted: list[InferRequest] = []

    def check(self, request: InferRequest) -> None:
        request.checked = True

    def submit(self, request: InferRequest, reply: object) -> str:
        self.submitted.append(request)
        return f"answer of {self.version}"


class Signature:
    """Is nobody else's."""


class Config:
    """Has no batches, and answers once."""

    max_batch_size = 0

    class model_transaction_policy:  # noqa: N801 - the name of the field
        decoupled = False


def split_of(
    shares: dict[int, float],
    *versions: Version,
    sticky: Sticky | None = None,
    drawn: Sequence[float] = (),
) -> tuple[SplitModel, SplitCounts]:
    for each in versions:
        each.config = cast(Any, Config)  # type: ignore[misc]
    counts, numbers = SplitCounts(), iter(drawn)
    models = {each.version: cast(LoadedModel, each) for each in versions}
    return SplitModel(Split(shares, sticky), models, counts, lambda: next(numbers)), counts


def request(**control: Any) -> InferRequest:
    return InferRequest("m", {}, control=control)


def chosen(model: LoadedModel) -> int:
    return model.version


def test_what_it_looks_like() -> None:
    two, three = Version(2), Version(3)
    split, _ = split_of({2: 50, 3: 50}, two, three)
    assert split.splits
    assert (split.version, split.like, split.name) == (3, three, "m")
    # What is remembered of requests to a version goes by its signature.
    assert split.signature is not three.signature
    assert type(split.signature) is Signature
    assert split_of({2: 51, 3: 49}, two, three)[0].like is cast(LoadedModel, two)


def test_requests_without_a_key_are_drawn_and_counted() -> None:
    split, counts = split_of({2: 90, 3: 10}, Version(2), Version(3), drawn=[0.0, 0.89, 0.95])
    assert [chosen(split.choose(request())) for _ in range(3)] == [2, 2, 3]
    assert (dict(counts.chosen), dict(counts.diverted)) == ({2: 2, 3: 1}, {})


def test_what_is_missing_or_down_is_drawn_again_among_the_others() -> None:
    split, counts = split_of(
        {1: 50, 2: 25, 3: 25},
        Version(2),
        Version(3, down="its process has died"),
        drawn=[0.1, 0.0, 0.9, 0.99, 0.6],
    )
    assert [chosen(split.choose(request())) for _ in range(3)] == [2, 2, 2]
    assert (dict(counts.chosen), dict(counts.diverted)) == ({2: 3}, {1: 1, 3: 1})


def test_if_none_can_answer_the_reason_is_told() -> None:
    split, _ = split_of({2: 100}, Version(2, down="its process has died"), drawn=[0.5])
    with pytest.raises(UnavailableError, match="'m' is not at ready state: its process has died"):
        split.choose(request())


@pytest.mark.parametrize("sequence", [7, "7", "abc"])
def test_a_sequence_is_one_key(sequence: int | str) -> None:
    split, _ = split_of({2: 50, 3: 50}, Version(2), Version(3))
    versions = {chosen(split.choose(request(sequence_id=sequence))) for _ in range(5)}
    assert versions == {choose("m", {2: 50, 3: 50}, f"sequence {sequence!r}".encode())}


def test_a_sticky_key_outweighs_a_sequence_and_0_is_none() -> None:
    split, _ = split_of({2: 50, 3: 50}, Version(2), Version(3), sticky=Sticky(header="x-user"), drawn=[0.2])
    keyed = split.choose(request(sequence_id=7), [(b"x-user", b"alice")])
    assert chosen(keyed) == choose("m", {2: 50, 3: 50}, b"alice")
    assert chosen(split.choose(request(sequence_id=0))) == 2


def test_those_that_have_to_be_asked_otherwise_are_not_chosen() -> None:
    split, counts = split_of({2: 60, 3: 40}, Version(2), Version(3, decoupled=True), drawn=[0.9, 0.5])
    assert chosen(split.choose(request())) == 2
    assert dict(counts.diverted) == {3: 1}


def test_whoever_has_not_asked_is_answered_all_the_same() -> None:
    two, three = Version(2), Version(3)
    split, _ = split_of({2: 50, 3: 50}, two, three, drawn=[0.9])
    asked = request()
    asked.checked = True
    assert split.submit(asked, cast(Any, None)) == cast(Any, "answer of 3")
    assert three.submitted == [asked]


def test_nothing_is_kept_until_cycles_are_looked_for() -> None:
    two = Version(2)
    split, _ = split_of({2: 100}, two)
    gone = weakref.ref(two)
    gc.disable()
    try:
        del two, split
        assert gone() is None
    finally:
        gc.enable()
