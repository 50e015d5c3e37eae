"""Whether a model may give its next response: what `Reply.respond` answers to the last one."""

import asyncio


def no_room() -> "asyncio.Future[bool]":
    """Nobody takes another response."""
    room: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    room.set_result(False)
    return room


def is_room(room: "asyncio.Future[bool]") -> bool:
    """What a future that is done says: whether there is room for the next response."""
    return not room.cancelled() and room.exception() is None and room.result()
