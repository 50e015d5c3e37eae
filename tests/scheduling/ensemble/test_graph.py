"""The graph of an ensemble: which steps are needed, when each can begin, and how often it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.scheduling.ensemble.graph import (
    Graph,
    MixedStreamsError,
    Step,
    plan_for,
    ready_steps,
    streams_of,
)
from tests.scheduling.ensemble.graphs import chain, graphs, needed

DIAMOND = Graph(
    ("x",),
    ("y", "z"),
    (
        Step("join", "", {"l": "left", "r": "right"}, {"out": "y"}),
        Step("right", "", {"in": "b"}, {"out": "right"}),
        Step("left", "3", {"in": "a"}, {"out": "left", "side": "z"}),
        Step("split", "", {"in": "x"}, {"one": "a", "two": "b"}),
    ),
)
JOIN, RIGHT, LEFT, SPLIT = range(4)


def test_steps_stand_in_an_order_in_which_they_can_be_executed() -> None:
    assert DIAMOND.order == (SPLIT, RIGHT, LEFT, JOIN)


def test_steps_that_wait_for_each_other_have_no_order() -> None:
    graph = Graph(
        ("x",),
        ("b",),
        (
            Step("one", "", {"in": "b"}, {"out": "a"}),
            Step("two", "", {"in": "a"}, {"out": "b"}),
        ),
    )
    with pytest.raises(ValueError, match="wait for each other"):
        _ = graph.order


@pytest.mark.parametrize(
    ("wanted", "steps", "outputs"),
    [
        ((), {JOIN, RIGHT, LEFT, SPLIT}, ("y", "z")),
        (("y",), {JOIN, RIGHT, LEFT, SPLIT}, ("y",)),
        (("z",), {LEFT, SPLIT}, ("z",)),
        (("z", "y"), {JOIN, RIGHT, LEFT, SPLIT}, ("y", "z")),
    ],
)
def test_only_what_is_needed_is_executed_and_outputs_keep_their_order(
    wanted: tuple[str, ...], steps: set[int], outputs: tuple[str, ...]
) -> None:
    plan = plan_for(DIAMOND, wanted)
    assert plan.steps == steps
    assert plan.outputs == outputs


def test_of_a_step_only_the_outputs_that_somebody_needs_are_asked_for() -> None:
    assert plan_for(DIAMOND, ("z",)).outputs_of == {LEFT: {"side": "z"}, SPLIT: {"one": "a"}}


def test_a_step_is_ready_with_the_last_of_its_tensors() -> None:
    plan = plan_for(DIAMOND, ())
    assert ready_steps(plan, {"x"}, ["x"]) == [SPLIT]
    assert ready_steps(plan, {"x", "a", "b"}, ["a", "b"]) == [LEFT, RIGHT]
    assert ready_steps(plan, {"x", "a", "b", "left", "z"}, ["left", "z"]) == []
    assert ready_steps(plan, {"x", "a", "b", "left", "z", "right"}, ["right"]) == [JOIN]


def test_a_step_that_reads_two_tensors_which_come_together_is_ready_once() -> None:
    graph = Graph(("a", "b"), ("y",), (Step("m", "", {"l": "a", "r": "b", "again": "a"}, {"out": "y"}),))
    assert ready_steps(plan_for(graph, ()), {"a", "b"}, ["a", "b"]) == [0]


@given(graphs(), st.data())
def test_every_needed_step_is_ready_exactly_once_whatever_finishes_first(
    graph: Graph, data: st.DataObject
) -> None:
    wanted = data.draw(st.sets(st.sampled_from(graph.outputs), min_size=1))
    plan = plan_for(graph, wanted)
    tensors, begun = set(graph.inputs), []
    running = ready_steps(plan, tensors, graph.inputs)
    while running:
        number = running.pop(data.draw(st.integers(0, len(running) - 1)))
        assert tensors.issuperset(graph.steps[number].inputs.values())
        begun.append(number)
        settled = list(plan.outputs_of[number].values())
        tensors.update(settled)
        running += ready_steps(plan, tensors, settled)
    assert sorted(begun) == sorted(needed(graph, wanted))
    assert tensors >= wanted


# --- steps that answer any number of times ----------------------------------------------------------------------


def test_what_stands_behind_a_stream_is_done_for_each_of_its_responses() -> None:
    graph = chain(4)
    streams = streams_of(plan_for(graph, ()), {1})
    assert streams.chain == (1,)
    assert streams.depth == {0: 0, 1: 0, 2: 1, 3: 1}


def test_streams_may_follow_each_other() -> None:
    streams = streams_of(plan_for(chain(4), ()), {0, 2})
    assert streams.chain == (0, 2)
    assert streams.depth == {0: 0, 1: 1, 2: 1, 3: 2}


def test_without_streams_all_is_done_once() -> None:
    streams = streams_of(plan_for(DIAMOND, ()), set())
    assert streams.chain == ()
    assert set(streams.depth.values()) == {0}


def test_a_stream_may_meet_what_is_done_once() -> None:
    streams = streams_of(plan_for(DIAMOND, ()), {LEFT})
    assert streams.chain == (LEFT,)
    assert streams.depth == {SPLIT: 0, LEFT: 0, RIGHT: 0, JOIN: 1}


def test_two_streams_that_have_nothing_to_do_with_each_other_do_not_meet_in_a_step() -> None:
    with pytest.raises(MixedStreamsError) as caught:
        streams_of(plan_for(DIAMOND, ()), {LEFT, RIGHT})
    assert caught.value.step is DIAMOND.steps[JOIN]


def test_two_streams_that_have_nothing_to_do_with_each_other_do_not_meet_in_the_answer() -> None:
    graph = Graph(
        ("x",),
        ("y", "z"),
        (Step("one", "", {"in": "x"}, {"out": "y"}), Step("two", "", {"in": "x"}, {"out": "z"})),
    )
    with pytest.raises(MixedStreamsError) as caught:
        streams_of(plan_for(graph, ()), {0, 1})
    assert caught.value.step is None
    assert streams_of(plan_for(graph, ("z",)), {0, 1}).chain == (1,)


def test_a_stream_that_is_not_needed_makes_no_stream() -> None:
    assert streams_of(plan_for(DIAMOND, ("z",)), {RIGHT}).chain == ()
