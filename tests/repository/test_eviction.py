"""Which models make room, as tables and properties."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.repository.residency.eviction import Resident, evict, excess, total


def cpu(name: str, size: int, used: float, *, held: bool = False) -> Resident:
    return Resident(name, {"cpu": size}, used, held)


THREE = [cpu("a", 3, 1), cpu("b", 3, 2), cpu("c", 3, 3)]
MIXED = [
    cpu("on_cpu", 5, 1),
    Resident("on_gpu", {"gpu0": 5}, 2),
    Resident("on_both", {"cpu": 1, "gpu0": 5}, 3),
]


@pytest.mark.parametrize(
    ("residents", "budget", "needed", "idle_since", "expected"),
    [
        # There is room, to the last byte; or no budget for what is needed.
        (THREE, {"cpu": 12}, {"cpu": 3}, 9, []),
        (THREE, {}, {"cpu": 300}, 9, []),
        (THREE, {"gpu0": 1}, {"cpu": 300}, 9, []),
        ([], {"cpu": 0}, {}, 9, []),
        # The one that was not asked for longest, and as many as it takes.
        (THREE, {"cpu": 11}, {"cpu": 3}, 9, ["a"]),
        (THREE, {"cpu": 9}, {"cpu": 4}, 9, ["a", "b"]),
        (THREE, {"cpu": 9}, {"cpu": 9}, 9, ["a", "b", "c"]),
        # Never one that is held, or was asked a moment ago.
        ([cpu("a", 3, 1, held=True), *THREE[1:]], {"cpu": 9}, {"cpu": 3}, 9, ["b"]),
        (THREE, {"cpu": 9}, {"cpu": 4}, 2, ["a", "b"]),
        (THREE, {"cpu": 9}, {"cpu": 4}, 1, None),
        ([cpu("a", 9, 1, held=True)], {"cpu": 9}, {"cpu": 1}, 9, None),
        # What does not fit even alone costs nobody his place.
        (THREE, {"cpu": 9}, {"cpu": 10}, 9, None),
        # Only on the device that is short.
        (MIXED, {"cpu": 6, "gpu0": 10}, {"gpu0": 1}, 9, ["on_gpu"]),
        (MIXED, {"cpu": 6, "gpu0": 10}, {"cpu": 1}, 9, ["on_cpu"]),
        (MIXED, {"cpu": 6, "gpu0": 10}, {"cpu": 1, "gpu0": 6}, 9, ["on_gpu", "on_both"]),
        # A large one that has to go anyway makes up for the small ones before it.
        ([cpu("small", 1, 1), cpu("large", 8, 2)], {"cpu": 9}, {"cpu": 5}, 9, ["large"]),
        # At the same time: by name, so that it is always the same one.
        ([cpu("b", 3, 1), cpu("a", 3, 1)], {"cpu": 6}, {"cpu": 1}, 9, ["a"]),
    ],
)
def test_who_makes_room(
    residents: list[Resident],
    budget: dict[str, int],
    needed: dict[str, int],
    idle_since: float,
    expected: list[str] | None,
) -> None:
    taken = total([each.use for each in residents])
    assert evict(residents, budget, taken, needed, idle_since) == expected


def test_what_others_use_counts_and_stays() -> None:
    """Loads that are under way, and models that are about to go."""
    residents = [cpu("a", 3, 1)]
    assert evict(residents, {"cpu": 10}, {"cpu": 9}, {"cpu": 4}, 9) == ["a"]
    assert evict(residents, {"cpu": 10}, {"cpu": 10}, {"cpu": 4}, 9) is None


USES = st.dictionaries(st.sampled_from(["cpu", "gpu0", "gpu1"]), st.integers(0, 5), max_size=3)


@st.composite
def crowds(draw: st.DrawFn) -> list[Resident]:
    count = draw(st.integers(0, 6))
    return [Resident(f"m{n}", draw(USES), draw(st.integers(0, 4)), draw(st.booleans())) for n in range(count)]


@given(crowds(), USES, USES, USES, st.integers(0, 4))
def test_what_holds_of_every_decision(
    residents: list[Resident],
    budget: dict[str, int],
    others: dict[str, int],
    needed: dict[str, int],
    idle_since: float,
) -> None:
    taken = total([*(each.use for each in residents), others])
    by_name = {each.name: each for each in residents}
    may_go = [each.name for each in residents if not each.held and each.used_s <= idle_since]

    def fits(going: tuple[str, ...] | list[str]) -> bool:
        left = [each.use for each in residents if each.name not in going]
        return not excess(budget, total([*left, others, needed]))

    going = evict(residents, budget, taken, needed, idle_since)
    if going is None:
        assert not any(fits(some) for n in range(len(may_go) + 1) for some in combinations(may_go, n))
        return
    assert len(set(going)) == len(going)
    assert set(going) <= set(may_go)
    assert fits(going)
    # Nobody goes for nothing.
    assert not any(fits([name for name in going if name != spared]) for spared in going)
    # Whoever stays of those that were asked longer ago would not have made up for one who goes.
    for name in may_go:
        if name not in going:
            for later in going:
                if by_name[name].used_s < by_name[later].used_s:
                    helped = by_name[name].use
                    worth = by_name[later].use
                    assert any(helped.get(d, 0) < size for d, size in worth.items()) or not fits(
                        [name, *(each for each in going if each != later)]
                    )
