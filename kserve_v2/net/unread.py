"""How much of what was written a client has not taken yet."""

import asyncio
import sys
from contextlib import suppress

_COUNT_BYTES = 4


def unread_bytes(transport: asyncio.WriteTransport) -> int:
    """What waits in the transport, and on Linux, in the socket as well. That holds megabytes, and takes more only once
    a good part of these has been read: for as long, a client that reads slowly would seem not to read at all.
    """
    return transport.get_write_buffer_size() + _in_socket(transport)


def _in_socket(transport: asyncio.WriteTransport) -> int:
    """What the client has not acknowledged. 0 where the system does not say."""
    if sys.platform == "linux":
        import termios  # noqa: PLC0415 - not every system has it
        from fcntl import ioctl  # noqa: PLC0415

        socket = transport.get_extra_info("socket")
        # It may be closed.
        with suppress(OSError, ValueError):
            if socket is not None:
                count = ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(_COUNT_BYTES))
                return int.from_bytes(count, sys.byteorder)
    return 0
