"""Requests that were there, whole, before the server was told to end: it answers them although it answers no others.

Whoever reads a request knows whether it is one. Its model is asked for later, and maybe in another process, so what is
done for a request carries that along as a part of its context, in the sense of `contextvars`.
"""

import asyncio
from contextvars import ContextVar, Token


class Acceptance:
    """Of the requests of one exchange with a client, one after the other. `given`: whether the one at hand has it."""

    __slots__ = ("given",)

    def __init__(self, *, given: bool = False) -> None:
        self.given = given

    def __repr__(self) -> str:
        return f"<Acceptance {self.given}>"


GIVEN = Acceptance(given=True)
"""Of one request, which has it."""

_current: ContextVar[Acceptance] = ContextVar("acceptance", default=Acceptance())  # noqa: B039 - nobody changes it


class Carrying:
    """What is begun inside is done for the requests that `acceptance` is about."""

    __slots__ = ("_acceptance", "_token")

    _token: Token[Acceptance]

    def __init__(self, acceptance: Acceptance) -> None:
        self._acceptance = acceptance

    def __enter__(self) -> None:
        self._token = _current.set(self._acceptance)

    def __exit__(self, *raised: object) -> None:
        _current.reset(self._token)


def is_accepted() -> bool:
    """Whether what is being done is done for a request that was accepted."""
    return _current.get().given


# From a connection to a task, from there to one that reads its messages, and so on: each begins one turn later.
_MOST_TURNS = 8


async def handed_on() -> None:
    """Return when all that has been read from connections by now is in the hands of who answers it."""
    for _ in range(_MOST_TURNS):
        await asyncio.sleep(0)
