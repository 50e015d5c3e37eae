"""What Python can do over HTTP with nothing in the way: `python -m benchmarks.yardsticks.bare_http MODEL_FILE`.

asyncio.Protocol, httptools, orjson, numpy, and the model called in place, on uvloop. Every request is taken for
an inference request of `add_sub` in JSON on a connection that is kept.
"""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from benchmarks.yardsticks.add_sub import AddSub

_BACKLOG = 2048
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class BareHttp(asyncio.Protocol):
    """One connection, and the callbacks of its parser."""

    _transport: asyncio.Transport

    def __init__(self, model: AddSub) -> None:
        self._model = model
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """See httptools: a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """See httptools."""
        answer = self._model.json(self._body)
        self._body = b""
        self._transport.write(_HEAD % len(answer) + answer)


async def main() -> None:
    """Serve until the process is ended."""
    model = AddSub(sys.argv[1])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BareHttp(model), "127.0.0.1", 0, backlog=_BACKLOG)
    print(f"REST http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
