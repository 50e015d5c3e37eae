"""What is done about what a look at the repository has found: tables, and a model of what must hold."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.repository.sources.changes import Seen, Step, changes
from kserve_v2.repository.sources.retries import FIRST_DELAY_S, LONGEST_DELAY_S, Failure, failed

SETTLE_S = 2.0
SETTLED = Seen("a", 0.0, "a")


def step(before: Seen | None, found: str | None, now_s: float, **options: Any) -> Step:
    return changes(
        {} if before is None else {"m": before},
        {} if found is None else {"m": found},
        now_s,
        SETTLE_S,
        **options,
    )


@pytest.mark.parametrize(
    ("before", "found", "now_s", "expected"),
    [
        # Nothing is there, and nothing was.
        (None, None, 9.0, Step({})),
        # It is as it was.
        (SETTLED, "a", 9.0, Step({"m": SETTLED})),
        # It is new: not before it has settled, which takes a second look.
        (None, "a", 9.0, Step({"m": Seen("a", 9.0)}, waiting=("m",), next_s=11.0)),
        (Seen("a", 9.0), "a", 10.9, Step({"m": Seen("a", 9.0)}, waiting=("m",), next_s=11.0)),
        (Seen("a", 9.0), "a", 11.0, Step({"m": Seen("a", 9.0, "a")}, load=("m",))),
        # It is still being copied.
        (Seen("a", 9.0), "b", 11.0, Step({"m": Seen("b", 11.0)}, waiting=("m",), next_s=13.0)),
        # It has gone before it was loaded.
        (Seen("a", 9.0), None, 11.0, Step({})),
        # It has changed: what answers goes on.
        (SETTLED, "b", 9.0, Step({"m": Seen("b", 9.0, "a")}, waiting=("m",), next_s=11.0)),
        (Seen("b", 9.0, "a"), "b", 11.0, Step({"m": Seen("b", 9.0, "b")}, load=("m",))),
        # And is again what it was.
        (Seen("b", 9.0, "a"), "a", 11.0, Step({"m": Seen("a", 11.0, "a")})),
        # It has gone.
        (SETTLED, None, 9.0, Step({"m": Seen(None, 9.0, "a")}, waiting=("m",), next_s=11.0)),
        (Seen(None, 9.0, "a"), None, 10.9, Step({"m": Seen(None, 9.0, "a")}, waiting=("m",), next_s=11.0)),
        (Seen(None, 9.0, "a"), None, 11.0, Step({}, unload=("m",))),
        # It was replaced in two steps, between which it was not there.
        (Seen(None, 9.0, "a"), "b", 10.0, Step({"m": Seen("b", 10.0, "a")}, waiting=("m",), next_s=12.0)),
    ],
)  # fmt: skip
def test_one_look(before: Seen | None, found: str | None, now_s: float, expected: Step) -> None:
    assert step(before, found, now_s) == expected


def test_no_settle_time_acts_at_the_first_look() -> None:
    assert changes({}, {"m": "a"}, 9.0, 0.0) == Step({"m": Seen("a", 9.0, "a")}, load=("m",))
    assert changes({"m": SETTLED}, {}, 9.0, 0.0) == Step({}, unload=("m",))


FAILED = Failure("a", 1, 10.0)


@pytest.mark.parametrize(
    ("before", "found", "now_s", "busy", "expected"),
    [
        # What has failed waits for its next turn, or for a change.
        (replace(SETTLED, failure=FAILED), "a", 14.9, (),
         Step({"m": replace(SETTLED, failure=FAILED)}, next_s=10.0 + FIRST_DELAY_S)),
        (replace(SETTLED, failure=FAILED), "a", 15.0, (), Step({"m": replace(SETTLED, failure=FAILED)}, load=("m",))),
        (Seen("b", 9.0, "a", FAILED), "b", 11.0, (), Step({"m": Seen("b", 9.0, "b", FAILED)}, load=("m",))),
        # While it is being loaded no other load begins, but it may be unloaded.
        (replace(SETTLED, failure=FAILED), "a", 15.0, ("m",), Step({"m": replace(SETTLED, failure=FAILED)})),
        (Seen("b", 9.0, "a"), "b", 11.0, ("m",), Step({"m": Seen("b", 9.0, "a")})),
        (Seen(None, 9.0, "a"), None, 11.0, ("m",), Step({}, unload=("m",))),
    ],
)  # fmt: skip
def test_failed_and_busy(
    before: Seen, found: str | None, now_s: float, busy: tuple[str, ...], expected: Step
) -> None:
    assert step(before, found, now_s, busy=busy) == expected


def test_models_are_looked_at_one_by_one_in_the_order_of_their_names() -> None:
    before = {"gone": Seen(None, 0.0, "a"), "old": SETTLED, "changed": Seen("b", 1.0, "a")}
    done = changes(before, {"old": "a", "changed": "b", "anew": "c"}, 5.0, SETTLE_S)
    assert (done.load, done.unload, done.waiting) == (("changed",), ("gone",), ("anew",))
    assert done.next_s == 7.0
    assert list(done.seen) == ["anew", "changed", "old"]


def test_the_delay_grows_and_starts_again_with_other_files() -> None:
    failure, delays = failed(None, "a", 100.0), []
    for _ in range(9):
        delays.append(failure.due_s - failure.at_s)
        assert not failure.is_due("a", failure.due_s - 0.001)
        assert failure.is_due("a", failure.due_s)
        assert failure.is_due("b", failure.at_s)
        failure = failed(failure, "a", failure.due_s)
    assert delays == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert delays[-1] == LONGEST_DELAY_S
    assert failed(failure, "b", 7.0) == Failure("b", 1, 7.0)
    # No number of failures is too large to count.
    assert Failure("a", 10**6, 0.0).due_s == LONGEST_DELAY_S


LOOKS = st.lists(
    st.tuples(
        st.sampled_from([0.5, 1.0, 2.0, 2.5]), st.dictionaries(st.sampled_from("ab"), st.sampled_from("123"))
    ),
    max_size=30,
)


@given(LOOKS)
def test_nothing_is_acted_upon_that_has_not_stayed_the_same(
    looks: list[tuple[float, dict[str, str]]],
) -> None:
    """By a model that keeps all looks: what is loaded was found by every look of the last SETTLE_S, and by two."""
    seen: Any = {}
    now_s, history, loaded = 0.0, list[tuple[float, dict[str, str]]](), dict[str, str]()
    for pause_s, found in looks:
        now_s += pause_s
        history.append((now_s, found))
        done = changes(seen, found, now_s, SETTLE_S)
        seen = done.seen
        for name in {*"ab"}:
            # Since when looks without a gap have found what this one has found.
            since_s = now_s
            for at_s, earlier in reversed(history):
                if earlier.get(name) != found.get(name):
                    break
                since_s = at_s
            settled = now_s - since_s >= SETTLE_S
            assert (name in done.load) == (settled and name in found and loaded.get(name) != found[name])
            assert (name in done.unload) == (settled and name not in found and name in loaded)
            if name in done.load:
                loaded[name] = found[name]
            if name in done.unload:
                del loaded[name]
