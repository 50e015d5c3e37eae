"""A worker that says it is ready, and nothing after that: `--fds LINK,CONNECTIONS --parent PID`."""

import asyncio
import socket
import sys

from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link


async def main(descriptor: int) -> None:
    link = Link(home=False)
    link.on(Kind.STOP, lambda _: None)
    await link.open(socket.socket(fileno=descriptor))
    await link.call(Kind.READY)
    await link.closed


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[2].split(",")[0])))
