"""What is remembered of the memory that versions took."""

from kserve_v2.repository.residency.measuring import MemoryUse
from kserve_v2.repository.residency.remembered import RememberedUses

FILES, LARGER = MemoryUse({"cpu": 10}), MemoryUse({"cpu": 15})
VERSION = ("m", 1)


def use(size: int) -> MemoryUse:
    return MemoryUse({"cpu": size}, estimated=True)


def test_nothing_is_known_of_the_first_load() -> None:
    uses = RememberedUses()
    assert uses.expected(VERSION, FILES) == FILES
    assert uses.own(VERSION, FILES) is None


def test_the_latest_use_is_expected_and_what_files_have_grown_by() -> None:
    uses = RememberedUses()
    uses.keep(VERSION, use(40), FILES, own=True)
    uses.keep(VERSION, use(50), FILES, own=True)
    assert uses.expected(VERSION, FILES) == uses.own(VERSION, FILES) == use(50)
    assert uses.expected(VERSION, LARGER) == use(55)
    assert uses.own(VERSION, LARGER) is None
    assert uses.expected(("m", 2), FILES) == FILES


def test_what_may_be_anothers_is_expected_only_while_nothing_better_is_known() -> None:
    uses = RememberedUses()
    uses.keep(VERSION, use(90), FILES, own=False)
    assert uses.expected(VERSION, FILES) == use(90)
    assert uses.own(VERSION, FILES) is None
    uses.keep(VERSION, use(40), FILES, own=True)
    uses.keep(VERSION, use(90), FILES, own=False)
    assert uses.expected(VERSION, FILES) == uses.own(VERSION, FILES) == use(40)
    # Of other files.
    uses.keep(VERSION, use(95), LARGER, own=False)
    assert uses.expected(VERSION, LARGER) == use(95)
