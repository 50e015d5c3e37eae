"""Which process gets the next connection."""

from collections import Counter

from kserve_v2.processes.balance import HOME, Balance, Door


def opened(balance: Balance, door: Door, count: int) -> list[int]:
    """So many connections come in; which processes have got them."""
    took = []
    for _ in range(count):
        took.append(balance.order(door)[0])
        balance.opened(took[-1], door)
    return took


def test_few_connections_are_spread_evenly_and_the_first_one_stays_at_home() -> None:
    balance = Balance()
    for process in (1, 2, 3):
        balance.join(process)
    assert opened(balance, Door.GRPC, 1) == [HOME]
    assert Counter(opened(balance, Door.REST, 64)) == dict.fromkeys(range(4), 16)


def test_doors_are_counted_apart() -> None:
    balance = Balance()
    balance.join(1)
    opened(balance, Door.REST, 5)
    assert opened(balance, Door.GRPC, 2) == [HOME, 1]


def test_what_is_closed_makes_room() -> None:
    balance = Balance()
    balance.join(1)
    opened(balance, Door.REST, 8)
    balance.closed(1, Door.REST, 3)
    assert opened(balance, Door.REST, 4) == [1, 1, 1, HOME]


def test_who_has_left_gets_nothing_and_its_successor_gets_what_it_lacks() -> None:
    balance = Balance()
    balance.join(1)
    balance.join(2)
    opened(balance, Door.REST, 9)
    balance.leave(1)
    # Said too late: it was on its way when the process ended.
    balance.closed(1, Door.REST)
    assert 1 not in opened(balance, Door.REST, 2)
    assert balance.count(1, Door.REST) == 0
    balance.join(1)
    assert opened(balance, Door.REST, 4) == [1, 1, 1, 1]
