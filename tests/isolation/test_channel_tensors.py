"""Tensors through a channel: what arrives is what was sent, and whose memory it is in."""

import gc
import itertools
import select
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.heads import INLINE_BYTES
from kserve_v2_child.channel.memory import create, temporary_file
from kserve_v2_child.channel.messages import Kind, MessageError

from tests.isolation.ends import LARGE, NUMERIC, channel_ends, mapped_bytes, same, segment_descriptors

BF16 = np.dtype(ml_dtypes.bfloat16)
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
NAMES = st.text(max_size=8)
TEXTS = st.lists(st.binary(max_size=12), max_size=6)


@st.composite
def numeric(draw: st.DrawFn) -> Any:
    """Any datatype and bits, and one of the ways to lie in memory; some of them large."""
    dtype = draw(st.sampled_from(NUMERIC))
    shape = draw(SHAPES)
    if draw(st.booleans()):
        shape = (*shape, draw(st.sampled_from([1000, LARGE // dtype.itemsize, LARGE // dtype.itemsize + 1])))
    size = int(np.prod(shape))
    seed = draw(st.binary(min_size=1, max_size=16))
    raw = np.resize(np.frombuffer(seed, np.uint8), size * dtype.itemsize)
    array = (raw & 1 if dtype.kind == "b" else raw).view(dtype).reshape(shape)
    turned = draw(st.sampled_from(["as it is", "transposed", "reversed", "every second"]))
    if turned == "transposed":
        return array.T
    if array.ndim and turned != "as it is":
        return array[::-1] if turned == "reversed" else array[::2]
    return array


@st.composite
def texts(draw: st.DrawFn) -> Any:
    """BYTES, some of them large."""
    elements = draw(TEXTS)
    if draw(st.booleans()):
        elements.append(bytes(draw(st.sampled_from([LARGE - 4, LARGE, 5 * LARGE]))))
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(draw(st.sampled_from([(-1,), (1, -1), (-1, 1)])))


GROUPS = st.lists(st.dictionaries(NAMES, numeric() | texts(), max_size=4), max_size=4)
FIELDS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


@pytest.mark.slow
@pytest.mark.parametrize("create_memory", [create, temporary_file])
def test_any_message_arrives_as_it_was_sent(create_memory: Callable[[int], int]) -> None:
    with channel_ends(create_memory) as ends:

        @given(
            st.lists(
                st.tuples(st.sampled_from(Kind), st.integers(0, 2**64 - 1), FIELDS, GROUPS, st.booleans()),
                min_size=1,
                max_size=3,
            )
        )
        @settings(max_examples=80, deadline=None)
        def exchange(messages: list[tuple[Kind, int, dict[str, Any], list[dict[str, Any]], bool]]) -> None:
            one, other = ends
            for kind, number, fields, groups, give in messages:
                one.send(kind, number, fields, groups, give=give)
                received = other.receive(0)
                assert (received.kind, received.number, repr(received.fields)) == (kind, number, repr(fields))
                assert [list(group) for group in received.groups] == [list(group) for group in groups]
                for sent, came in zip(groups, received.groups, strict=True):
                    for name, array in sent.items():
                        assert same(array, came[name])
                        flags = came[name].flags
                        assert flags.writeable and flags.aligned and flags.c_contiguous
                one, other = other, one

        exchange()


def test_numbers_of_one_size_are_one_datatype_whatever_c_calls_them() -> None:
    with channel_ends() as (one, other):
        for kind in "lLqQ":
            one.send(Kind.EXECUTE, groups=[{"x": np.arange(3, dtype=kind)}])
            assert other.receive(0).groups[0]["x"].dtype == np.arange(3, dtype=kind).dtype


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (
            np.zeros(2, np.complex64),
            "tensor 'x' is an array of complex64, which is none of the datatypes BOOL, ",
        ),
        (np.zeros(2, ">i4"), "tensor 'x' is an array of >i4, which is none"),
        (np.zeros(2, "S4"), "tensor 'x' is an array of |S4, which is none"),
        (np.array([b"", "text"], object), "element 1 of tensor 'x' is str, expected bytes"),
        ([1, 2], "tensor 'x' is list, expected a numpy array"),
    ],
)
@pytest.mark.parametrize("beside", [0, LARGE])
def test_what_the_protocol_does_not_have_is_refused_and_nothing_is_sent(
    array: Any, text: str, beside: int
) -> None:
    with channel_ends() as (one, other):
        with pytest.raises(MessageError) as caught:
            one.send(Kind.EXECUTE, groups=[{"other": np.zeros(beside, np.int8), "x": array}])
        assert text in str(caught.value)
        one.send(Kind.EXECUTE, 7, {"a": 1})
        assert other.receive(0).number == 7
        one.tend(0.0)
        one.tend(100.0)
        assert segment_descriptors() == 0


@pytest.mark.parametrize("value", [{1, 2}, b"", object(), 10**5000], ids=type)
def test_fields_that_json_does_not_have_are_refused(value: Any) -> None:
    with channel_ends() as (one, other):
        with pytest.raises(MessageError, match="the fields of a message cannot be written as JSON: "):
            one.send(Kind.EXECUTE, 1, {"a": value})
        one.send(Kind.EXECUTE, 2)
        assert other.receive(0).number == 2


@pytest.mark.parametrize("elements", [1, 2, 16, 17])
@pytest.mark.parametrize("beside", [0, 8, 9, INLINE_BYTES - 40])
def test_texts_arrive_whether_they_travel_in_the_message_or_not(elements: int, beside: int) -> None:
    with channel_ends() as (here, there):
        for size in (
            0,
            1,
            7,
            8,
            *range(INLINE_BYTES - beside - 24 - 4 * elements, INLINE_BYTES - beside + 9),
        ):
            texts = np.empty((elements, 1), object)
            texts[:, 0] = [b"\0" * max(size, 0)] + [b"z"] * (elements - 1)
            groups = [{"a": texts, "numbers": np.arange(beside, dtype=np.uint8)}, {"b": texts[:1]}]
            here.send(Kind.EXECUTE, 1, {}, groups)
            received = there.receive().groups
            assert [list(each) for each in received] == [["a", "numbers"], ["b"]]
            for sent, came in zip(groups, received, strict=True):
                for name, array in sent.items():
                    assert came[name].tolist() == array.tolist()
                    assert came[name].shape == array.shape
            # It is the receiver's own.
            received[0]["numbers"][...] = 1


def test_large_tensors_are_in_shared_memory_and_aligned() -> None:
    with channel_ends() as (one, other):
        sent = np.arange(LARGE, dtype=np.int32)
        one.send(Kind.EXECUTE, groups=[{"x": sent, "y": sent.astype(BF16), "s": sent[:2]}])
        group = other.receive(0).groups[0]
        assert mapped_bytes() == 1 << 20
        assert [array.ctypes.data % 64 for array in (group["x"], group["y"])] == [0, 0]
        group["x"][:] = -1
        assert same(group["y"], sent.astype(BF16))
        assert same(sent, np.arange(LARGE, dtype=np.int32))


def test_an_array_stays_valid_when_both_ends_are_closed() -> None:
    with channel_ends() as (one, other):
        one.send(Kind.EXECUTE, groups=[{"x": np.arange(LARGE, dtype=np.int32)}])
        kept = other.receive(0).groups[0]["x"]
    gc.collect()
    assert same(kept, np.arange(LARGE, dtype=np.int32))
    kept[:] = 1
    assert mapped_bytes() > 0
    del kept
    assert mapped_bytes() == 0


class Kept:
    """What a reader keeps of messages, and what it has to be."""

    def __init__(self) -> None:
        self.arrays: list[tuple[Any, Any]] = []

    def check(self) -> None:
        for array, expected in self.arrays:
            assert same(array, expected)


def requests_and_answers(data: st.DataObject, ends: tuple[Channel, Channel], kept: tuple[Kept, Kept]) -> None:
    """One request and its answer, in either direction, of which either side keeps what it likes."""
    sender = data.draw(st.integers(0, 1))
    one, other = ends[sender], ends[1 - sender]
    sizes = data.draw(st.lists(st.sampled_from([10, LARGE, 3 * LARGE, 50 * LARGE]), max_size=3))
    groups = [{str(i): np.full(size, next(_FILL), np.int64) for i, size in enumerate(sizes)}]
    expected = {name: array.copy() for name, array in groups[0].items()}
    one.send(Kind.EXECUTE, groups=groups, give=True)
    received = other.receive(0).groups[0]
    # Somebody keeps some of it, or a part of it.
    for name in data.draw(st.sets(st.sampled_from(sorted(received)))) if received else ():
        start = data.draw(st.sampled_from([0, 3]))
        view = received[name][start:] if start else received[name]
        kept[1 - sender].arrays.append((view, expected[name][start:]))
    # The inputs are the answer, or a view of them is.
    for name in list(received):
        if data.draw(st.booleans()):
            received[name] = received[name][2:]
            expected[name] = expected[name][2:]
    other.send(Kind.RESPOND, groups=[received], give=True)
    received.clear()
    answer = one.receive(0).groups[0]
    for name, array in expected.items():
        assert same(answer[name], array)
    # What is in the hands of the requester is its own.
    for array in answer.values():
        array[:] = -1
    if data.draw(st.booleans()):
        kept[sender].arrays += [(array, array.copy()) for array in answer.values()]


_FILL = itertools.count(1)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_a_reader_keeps_is_never_overwritten_and_what_it_drops_is_used_again(
    data: st.DataObject,
) -> None:
    """Random sizes, keeps and drops, in both directions, with views, answers that are inputs, and idle times."""
    with channel_ends() as ends:
        kept = (Kept(), Kept())
        now = 0.0
        for _ in range(data.draw(st.integers(1, 12))):
            requests_and_answers(data, ends, kept)
            if data.draw(st.booleans()):
                kept[data.draw(st.integers(0, 1))].arrays.clear()
            if data.draw(st.booleans()):
                now += data.draw(st.sampled_from([0.1, 3.0, 10.0]))
                for end in (*ends, *ends):
                    end.tend(now)
            kept[0].check()
            kept[1].check()
        kept[0].arrays.clear()
        kept[1].arrays.clear()
        give_back(ends, now)
        assert (segment_descriptors(), mapped_bytes()) == (0, 0)


def give_back(ends: tuple[Channel, Channel], now: float) -> None:
    """What the tenders do when nothing happens any more."""
    for later in (0.0, 0.0, 100.0, 100.0):
        for end in ends:
            end.tend(now + later)


def test_memory_that_is_given_back_is_used_again() -> None:
    with channel_ends() as (one, other):
        for value in range(20):
            one.send(Kind.EXECUTE, groups=[{"x": np.full(1 << 21, value, np.uint8)}])
            assert int(other.receive(0).groups[0]["x"][-1]) == value
            other.send(Kind.RESPOND)
            one.receive(0)
        assert mapped_bytes() == 2 << 21  # by both sides
        give_back((one, other), 0.0)
        assert (segment_descriptors(), mapped_bytes()) == (0, 0)


def test_a_channel_that_idles_gives_back_what_was_dropped_meanwhile() -> None:
    with channel_ends() as (one, other):
        one.send(Kind.EXECUTE, groups=[{"x": np.zeros(LARGE)}])
        message = other.receive(0)
        assert one.tend(0.0)
        assert one.tend(100.0)
        assert mapped_bytes() == 1 << 20  # the reader has it
        del message
        assert other.tend(100.0) is False
        assert one.tend(100.0)
        assert one.tend(104.0)
        assert one.tend(105.0) is False
        assert other.tend(105.0) is False
        assert (segment_descriptors(), mapped_bytes()) == (0, 0)


def test_messages_that_come_while_a_channel_is_tended_are_received_in_order() -> None:
    with channel_ends() as (one, other):
        for number in range(3):
            one.send(Kind.EXECUTE, number)
        other.tend(0.0)
        assert [other.receive(0).number for _ in range(3)] == [0, 1, 2]
        one.send(Kind.EXECUTE, 3)
        one.close()
        other.tend(0.0)
        other.tend(0.0)
        assert other.receive(0).number == 3


def test_a_reply_that_is_listened_for_is_left_on_the_socket_whatever_comes_before_it() -> None:
    with channel_ends() as (one, other):
        one.expect()
        one.send(Kind.EXECUTE, groups=[{"x": np.zeros(LARGE)}])
        other.receive(0)
        other.tend(0.0)
        with pytest.raises(TimeoutError):
            one.receive(0)  # a notice about memory
        other.send(Kind.RESPOND, 8)
        one.tend(0.0)
        assert select.select([one.fileno()], [], [], 60)[0] == [one.fileno()]
        assert one.receive(0).number == 8
        other.send(Kind.RESPOND, 9)
        one.tend(0.0)
        assert select.select([one.fileno()], [], [], 0)[0] == []
        assert one.receive(0).number == 9


class TestGivingBack:
    """What was received goes back in the same memory only if nobody can see it afterwards."""

    def echo(self, change: Callable[[dict[str, Any]], Any], *, give: bool = True) -> tuple[Any, int, Any]:
        """What came back, in how many bytes of shared memory, and what the child has kept."""
        with channel_ends() as (one, other):
            one.send(Kind.EXECUTE, groups=[{"x": np.arange(1 << 18, dtype=np.int64)}])
            group = other.receive(0).groups[0]
            kept = change(group)
            other.send(Kind.RESPOND, groups=[group], give=give)
            group.clear()
            answer = one.receive(0).groups[0]
            segments = len(list(other._pool.segments())) + len(list(one._pool.segments()))
            return answer, segments, kept

    def test_an_input_that_is_the_output(self) -> None:
        answer, segments, _ = self.echo(lambda group: None)
        assert segments == 1
        assert same(answer["x"], np.arange(1 << 18))

    def test_not_unless_it_is_given(self) -> None:
        assert self.echo(lambda group: None, give=False)[1] == 2

    @pytest.mark.parametrize("view", [np.s_[5:], np.s_[: 1 << 17], np.s_[7 : 1 << 16]])
    def test_a_contiguous_view(self, view: slice) -> None:
        def change(group: dict[str, Any]) -> None:
            group["x"] = group["x"][view].reshape(1, -1)

        answer, segments, _ = self.echo(change)
        assert segments == 1
        assert same(answer["x"], np.arange(1 << 18)[view].reshape(1, -1))

    def test_other_datatypes_over_the_same_memory(self) -> None:
        def change(group: dict[str, Any]) -> None:
            group["x"] = group["x"].view(np.uint8)[8:].view(BF16)

        answer, segments, _ = self.echo(change)
        assert segments == 1
        assert same(answer["x"], np.arange(1, 1 << 18).view(BF16))

    def test_one_that_is_not_aligned_for_its_datatype_is_copied(self) -> None:
        def change(group: dict[str, Any]) -> None:
            group["x"] = group["x"].view(np.uint8)[4:-4].view(np.int64)

        answer, segments, _ = self.echo(change)
        assert segments == 2
        assert same(answer["x"], np.arange(1 << 18).view(np.uint8)[4:-4].view(np.int64))

    @pytest.mark.parametrize(
        "keep",
        [
            lambda group: group["x"],
            lambda group: group["x"][1:],
            lambda group: memoryview(group["x"]),
            lambda group: group["x"].base,
            lambda group: group.setdefault("y", group["x"]),
            lambda group: group.setdefault("y", group["x"][::-1]),
            lambda group: np.asarray(group["x"].base),
        ],
    )
    def test_one_that_somebody_keeps_is_copied(self, keep: Callable[[dict[str, Any]], Any]) -> None:
        answer, segments, kept = self.echo(keep)
        assert segments > 1
        before = answer["x"].copy()
        if isinstance(kept, np.ndarray | memoryview):
            np.asarray(kept)[0] = 12345
        assert same(answer["x"], before)

    @pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[::2]])
    def test_one_that_is_not_contiguous_is_copied(self, turn: slice) -> None:
        def change(group: dict[str, Any]) -> None:
            group["x"] = group["x"][turn]

        answer, segments, _ = self.echo(change)
        assert segments == 2
        assert same(answer["x"], np.arange(1 << 18)[turn])

    def test_a_second_time_it_is_copied(self) -> None:
        with channel_ends() as (one, other):
            one.send(Kind.EXECUTE, groups=[{"x": np.arange(LARGE, dtype=np.int32)}])
            groups = other.receive(0).groups
            other.send(Kind.RESPOND, groups=groups, give=True)
            other.send(Kind.RESPOND, groups=groups, give=True)
            first, second = one.receive(0).groups[0]["x"], one.receive(0).groups[0]["x"]
            first[:] = 0
            assert same(second, np.arange(LARGE, dtype=np.int32))

    def test_the_block_is_free_when_what_came_back_is_dropped(self) -> None:
        with channel_ends() as (one, other):
            for _ in range(5):
                one.send(Kind.EXECUTE, groups=[{"x": np.zeros(1 << 20, np.uint8)}])
                other.send(Kind.RESPOND, groups=other.receive(0).groups, give=True)
                one.receive(0)
            assert len(list(one._pool.segments())) == 1
            give_back((one, other), 0.0)
            assert (segment_descriptors(), mapped_bytes()) == (0, 0)

    def test_it_goes_to_another_channel_as_a_copy(self) -> None:
        with channel_ends() as (one, other), channel_ends() as (third, fourth):
            one.send(Kind.EXECUTE, groups=[{"x": np.arange(LARGE, dtype=np.int32)}])
            third.send(Kind.EXECUTE, groups=other.receive(0).groups, give=True)
            assert same(fourth.receive(0).groups[0]["x"], np.arange(LARGE, dtype=np.int32))
