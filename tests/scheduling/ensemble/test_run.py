"""One request to an ensemble, over models that answer in whatever order: what is called when, and what is answered."""

import asyncio
from collections.abc import Callable, Coroutine

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import (
    ErrorCode,
    InvalidArgumentError,
    ServingError,
    UnavailableError,
    UnfinishedError,
    may_try_again,
)
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.ensemble.graph import Graph, Step
from tests.scheduling.ensemble.graphs import chain, graphs, needed, reference
from tests.scheduling.ensemble.scripted import Ensemble, computed, values


def on_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


def chained(value: int, *models: str) -> int:
    for model in models:
        value = computed(model, {"in": value}, "out")
    return value


DIAMOND = Graph(
    ("x",),
    ("y",),
    (
        Step("left", "", {"in": "x"}, {"out": "l"}),
        Step("right", "", {"in": "x"}, {"out": "r"}),
        Step("join", "", {"l": "l", "r": "r"}, {"out": "y"}),
    ),
)


# --- answers that come once -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(graphs(), st.data())
def test_any_graph_computes_what_its_steps_do_in_whatever_order_they_finish(
    graph: Graph, data: st.DataObject
) -> None:
    async def run() -> None:
        ensemble = Ensemble(graph)
        for model in ensemble.models.values():
            model.at_once = data.draw(st.booleans())
        wanted = data.draw(st.sets(st.sampled_from(graph.outputs)))
        given = {name: number for number, name in enumerate(graph.inputs)}
        answer = ensemble.submit(tuple(wanted), **given)
        while calls := ensemble.open():
            assert not ensemble.reply.ends
            calls[data.draw(st.integers(0, len(calls) - 1))].answer()
        if not isinstance(answer, InferResponse):
            [answer] = ensemble.reply.responses
            assert ensemble.reply.ends == [None]
        else:
            assert not ensemble.reply.responses
            assert not ensemble.reply.ends
        expected = reference(graph, given, computed)
        assert list(answer.outputs) == [name for name in graph.outputs if name in wanted or not wanted]
        assert values(answer) == {name: expected[name] for name in answer.outputs}
        called = {number for number, step in enumerate(graph.steps) if ensemble.models[step.model].count}
        assert called == needed(graph, wanted or set(graph.outputs))
        assert all(model.count <= 1 for model in ensemble.models.values())
        assert ensemble.leases == 0
        assert ensemble.statistics.success_count == ensemble.statistics.execution_count == 1

    asyncio.run(run())


@on_loop
async def test_models_that_answer_at_once_make_an_ensemble_that_does() -> None:
    ensemble = Ensemble(chain(3))
    for model in ensemble.models.values():
        model.at_once = True
    answer = ensemble.submit(x=5)
    assert isinstance(answer, InferResponse)
    assert values(answer) == {"t2": chained(5, "m0", "m1", "m2")}
    assert (answer.model_name, answer.model_version) == ("ens", "1")
    assert answer.compute_ns == 3000


@on_loop
async def test_steps_that_do_not_need_each_other_are_under_way_together() -> None:
    ensemble = Ensemble(DIAMOND)
    ensemble.submit(x=1)
    assert [call.callee.name for call in ensemble.open()] == ["left", "right"]
    assert ensemble.leases == 3
    for call in ensemble.open():
        call.answer()
    ensemble.open("join")[0].answer()
    assert ensemble.reply.ends == [None]
    assert ensemble.leases == 0


@on_loop
async def test_tensors_are_handed_over_and_those_with_several_readers_are_not_to_be_written_to() -> None:
    ensemble = Ensemble(DIAMOND)
    given = np.array([1])
    ensemble.target.submit(InferRequest("ens", {"x": given}), ensemble.reply)
    left, right = ensemble.open()
    assert left.request.inputs["in"] is right.request.inputs["in"]
    assert np.shares_memory(left.request.inputs["in"], given)
    assert not left.request.inputs["in"].flags.writeable
    assert given.flags.writeable
    made = ensemble.models["left"].response(left.request)
    left.reply.respond(made)
    left.reply.end()
    right.answer()
    handed = ensemble.open("join")[0].request.inputs["l"]
    assert handed is made.outputs["out"]
    assert handed.flags.writeable


@on_loop
async def test_what_says_who_asks_goes_to_every_step() -> None:
    ensemble = Ensemble(DIAMOND)
    outer = InferRequest(
        "ens", {"x": np.array([1])}, id="z", parameters={"a": 1}, control={"priority": 2, "timeout": 9}
    )
    ensemble.target.submit(outer, ensemble.reply)
    for call in ensemble.open():
        assert (call.request.id, call.request.parameters, call.request.control) == (
            "z",
            {"a": 1},
            outer.control,
        )
        call.request.parameters["a"] = 2
    assert outer.parameters == {"a": 1}


@on_loop
async def test_a_step_may_say_where_in_its_sequence_the_following_ones_are() -> None:
    ensemble = Ensemble(chain(2))
    ensemble.submit(x=1)
    [first] = ensemble.open()
    response = ensemble.models["m0"].response(first.request)
    response.parameters |= {"sequence_id": 7, "sequence_end": True, "other": 1}
    first.reply.respond(response)
    first.reply.end()
    assert ensemble.open("m1")[0].request.control == {"sequence_id": 7, "sequence_end": True}


# --- errors -----------------------------------------------------------------------------------------------------


@on_loop
async def test_the_first_error_ends_all_once() -> None:
    ensemble = Ensemble(DIAMOND)
    ensemble.submit(x=1)
    left, right = ensemble.open()
    left.end(UnavailableError("Exceeds maximum queue size"))
    [error] = ensemble.reply.ends
    # The other step may be executed just now.
    assert isinstance(error, UnfinishedError)
    assert error.message == str(error) == "in ensemble 'ens', Exceeds maximum queue size"
    assert right.given_up
    assert ensemble.models["join"].count == 0
    assert ensemble.leases == 0
    assert ensemble.statistics.fail.count == 1


@on_loop
async def test_a_refusal_says_whether_anything_was_executed() -> None:
    for refusing in (0, 1):
        ensemble = Ensemble(chain(2))
        ensemble.submit(x=1)
        for number in range(refusing):
            ensemble.open(f"m{number}")[0].answer()
        ensemble.open(f"m{refusing}")[0].end(UnavailableError("Exceeds maximum queue size"))
        [error] = ensemble.reply.ends
        assert isinstance(error, ServingError)
        assert (error.code, may_try_again(error)) == (ErrorCode.UNAVAILABLE, refusing == 0)


@on_loop
async def test_an_error_that_is_there_at_once_is_raised() -> None:
    ensemble = Ensemble(DIAMOND)
    ensemble.models["right"].error = InvalidArgumentError("no")
    with pytest.raises(InvalidArgumentError, match=r"^in ensemble 'ens', no$"):
        ensemble.submit(x=1)
    assert ensemble.calls[0].given_up
    assert not ensemble.reply.ends
    assert ensemble.leases == 0


@on_loop
async def test_a_step_that_fails_when_its_turn_comes_ends_the_request() -> None:
    ensemble = Ensemble(chain(2))
    ensemble.models["m1"].error = InvalidArgumentError("no")
    ensemble.submit(x=1)
    ensemble.open()[0].answer()
    assert [str(error) for error in ensemble.reply.ends] == ["in ensemble 'ens', no"]


@on_loop
async def test_a_model_that_ends_without_an_answer_is_an_error() -> None:
    ensemble = Ensemble(chain(1))
    ensemble.submit(x=1)
    ensemble.open()[0].end()
    assert "has ended without an answer" in str(ensemble.reply.ends[0])


@on_loop
async def test_giving_up_gives_all_steps_up() -> None:
    ensemble = Ensemble(DIAMOND)
    ticket = ensemble.submit(x=1)
    assert not isinstance(ticket, InferResponse)
    ticket.give_up()
    ticket.give_up()
    assert all(call.given_up for call in ensemble.calls)
    assert not ensemble.reply.ends
    assert ensemble.leases == 0
    assert ensemble.statistics.fail.count == 1
    await asyncio.wait_for(ensemble.target.drain(), 60)


@on_loop
async def test_drain_waits_for_what_is_under_way() -> None:
    ensemble = Ensemble(chain(1))
    ensemble.submit(x=1)
    drained = asyncio.ensure_future(ensemble.target.drain())
    await asyncio.sleep(0)
    assert not drained.done()
    ensemble.open()[0].answer()
    await asyncio.wait_for(drained, 60)


# --- answers that come any number of times ------------------------------------------------------------------------


def stream(*, limit: int = 0, length: int = 3, decoupled: tuple[str, ...] = ("m0",)) -> Ensemble:
    return Ensemble(chain(length), decoupled, limit)


@on_loop
async def test_each_response_goes_through_what_is_behind_and_leaves_in_order() -> None:
    ensemble = stream(length=2)
    ensemble.submit(x=1)
    [source] = ensemble.open()
    for number in range(3):
        source.respond(number)
    behind = ensemble.open("m1")
    behind[2].answer()
    behind[1].answer()
    assert not ensemble.reply.responses
    behind[0].answer()
    made = computed("m0", {"in": 1}, "out")
    expected = [computed("m1", {"in": made + number}, "out") for number in range(3)]
    assert [values(response)["t1"] for response in ensemble.reply.responses] == expected
    assert not ensemble.reply.ends
    source.end()
    assert ensemble.reply.ends == [None]
    assert ensemble.leases == 0


@on_loop
async def test_a_stream_without_responses_is_an_end_without_responses() -> None:
    ensemble = stream()
    ensemble.submit(x=1)
    ensemble.open()[0].end()
    assert ensemble.reply.ends == [None]
    assert not ensemble.reply.responses


@on_loop
async def test_what_comes_before_an_error_is_answered_and_then_the_error() -> None:
    ensemble = stream(length=2)
    ensemble.submit(x=1)
    [source] = ensemble.open()
    source.respond(0)
    source.respond(1)
    source.end(InvalidArgumentError("no 2"))
    assert not ensemble.reply.ends
    for call in ensemble.open("m1"):
        call.answer()
    assert len(ensemble.reply.responses) == 2
    assert [str(error) for error in ensemble.reply.ends] == ["in ensemble 'ens', no 2"]


@on_loop
async def test_an_error_in_one_response_lets_those_before_it_pass_and_none_behind_it() -> None:
    ensemble = stream(length=2)
    ensemble.submit(x=1)
    [source] = ensemble.open()
    for number in range(3):
        source.respond(number)
    first, second, third = ensemble.open("m1")
    second.end(InvalidArgumentError("no 1"))
    assert third.given_up
    assert source.given_up
    assert not ensemble.reply.ends
    first.answer()
    assert len(ensemble.reply.responses) == 1
    assert [str(error) for error in ensemble.reply.ends] == ["in ensemble 'ens', no 1"]
    assert ensemble.leases == 0


@on_loop
async def test_a_slow_reader_holds_the_model_back() -> None:
    ensemble = stream(length=2, limit=2)
    ensemble.models["m1"].at_once = True
    ensemble.reply.slow = True
    ensemble.submit(x=1)
    [source] = ensemble.open()
    source.respond(0)
    assert not source.held_back
    source.respond(1)
    source.respond(2)
    assert source.held_back
    assert len(ensemble.reply.responses) == 1
    ensemble.reply.rooms[0].set_result(True)
    await asyncio.sleep(0)
    assert len(ensemble.reply.responses) == 2
    assert not source.held_back


@on_loop
async def test_a_reader_that_takes_no_more_ends_the_model() -> None:
    ensemble = stream(length=2)
    ensemble.models["m1"].at_once = True
    ensemble.reply.slow = True
    ensemble.submit(x=1)
    [source] = ensemble.open()
    source.respond(0)
    ensemble.reply.rooms[0].set_result(False)
    await asyncio.sleep(0)
    assert source.given_up
    assert ensemble.leases == 0


@on_loop
async def test_no_more_requests_of_one_step_are_under_way_than_the_configuration_says() -> None:
    ensemble = stream(length=3, limit=2)
    ensemble.submit(x=1)
    [source] = ensemble.open()
    for number in range(5):
        source.respond(number)
    assert source.held_back
    answered = 0
    while calls := ensemble.open("m1") + ensemble.open("m2"):
        assert len(ensemble.open("m1")) <= 2
        assert len(ensemble.open("m2")) <= 2
        calls[-1].answer()
        answered += 1
    assert answered == 10
    assert len(ensemble.reply.responses) == 5
    source.end()
    assert ensemble.reply.ends == [None]


@on_loop
async def test_only_what_is_needed_of_a_stream_is_executed() -> None:
    graph = Graph(
        ("x",),
        ("y", "z"),
        (Step("one", "", {"in": "x"}, {"out": "y"}), Step("two", "", {"in": "y"}, {"out": "z"})),
    )
    ensemble = Ensemble(graph, ("two",))
    ensemble.models["one"].at_once = True
    answer = ensemble.submit(("y",), x=1)
    assert isinstance(answer, InferResponse)
    assert ensemble.models["two"].count == 0


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 3),
    st.integers(0, 2),
    st.data(),
)
def test_streams_behind_streams_answer_in_the_order_of_their_responses(
    inner_counts: list[int], limit: int, failing: int, data: st.DataObject
) -> None:
    """x → a (stream) → b (stream) → c; and x → p, which c needs as well: whatever happens first, and with an error."""
    graph = Graph(
        ("x",),
        ("y",),
        (
            Step("a", "", {"in": "x"}, {"out": "ta"}),
            Step("b", "", {"in": "ta"}, {"out": "tb"}),
            Step("p", "", {"in": "x"}, {"out": "tp"}),
            Step("c", "", {"in": "tb", "p": "tp"}, {"out": "y"}),
        ),
    )

    async def run() -> None:
        ensemble = Ensemble(graph, ("a", "b"), limit)
        ensemble.models["p"].at_once = data.draw(st.booleans())
        ensemble.models["c"].at_once = data.draw(st.booleans())
        ensemble.submit(x=1)
        given = {"a": 0}
        fails = data.draw(st.integers(0, 12)) if failing == 0 else None
        for turn in range(200):
            calls = [call for call in ensemble.open() if not call.held_back]
            if not calls or ensemble.reply.ends:
                break
            call = calls[data.draw(st.integers(0, len(calls) - 1))]
            if turn == fails:
                call.end(InvalidArgumentError("no"))
                continue
            if call.callee.name in ("p", "c"):
                call.answer()
                continue
            key = "a" if call.callee.name == "a" else f"b{call.request.inputs['in'][0]}"
            done = given.setdefault(key, 0)
            number = int(call.request.inputs["in"][0]) - computed("a", {"in": 1}, "out") if key != "a" else 0
            count = len(inner_counts) if key == "a" else inner_counts[number]
            if done < count:
                given[key] += 1
                call.respond(done)
            else:
                call.end()
        assert len(ensemble.reply.ends) == 1
        assert ensemble.leases == 0
        assert not ensemble.open()
        made_a, made_p = computed("a", {"in": 1}, "out"), computed("p", {"in": 1}, "out")
        expected = [
            computed("c", {"in": computed("b", {"in": made_a + outer}, "out") + inner, "p": made_p}, "out")
            for outer, count in enumerate(inner_counts)
            for inner in range(count)
        ]
        got = [values(response)["y"] for response in ensemble.reply.responses]
        error: ServingError | None = ensemble.reply.ends[0]
        assert got == expected if error is None else expected[: len(got)] == got

    asyncio.run(run())
