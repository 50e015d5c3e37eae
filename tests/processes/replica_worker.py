"""A process that has copies of text models: `python -m ... HOME CLIENTS`, with the descriptors of a link to the home, and of
one over which clients ask.
"""

import asyncio
import json
import os
import socket
import sys

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.errors import InvalidArgumentError, NotHereError
from kserve_v2.messages import InferRequest
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link
from kserve_v2.processes.replica import ReplicaHost
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.shared import Shared
from tests.repository.text_models import OneBackend, TextBackend, TextModel

ASK = Kind.REST_INFER
BROKEN_ELSEWHERE = "broken elsewhere"
"""What the text of a model begins with that only the home can load."""
DEADLY_ELSEWHERE = "deadly elsewhere"
"""What that of one begins with that ends each worker that loads it."""


class VouchedBackend(TextBackend):
    """Models that keep nothing."""

    keeps_nothing = True


class WorkerBackend(VouchedBackend):
    """The same in a worker."""

    def load(self, source: ModelSource, config: ModelConfig) -> TextModel:
        model = super().load(source, config)
        if model.text.startswith(BROKEN_ELSEWHERE):
            raise InvalidArgumentError("no room for it here")
        if model.text.startswith(DEADLY_ELSEWHERE):
            os._exit(1)
        return model


async def serve(link: Link, clients: Link, backend: TextBackend) -> ReplicaHost:
    """Have everything that comes over two links, which are not open yet, answered."""
    host = ReplicaHost(OneBackend(backend), Shared())
    host.serve(link)

    async def ask(payload: bytes | memoryview) -> bytes:
        name, version = json.loads(bytes(payload))
        try:
            model, request = host.service.acquire(name, version), InferRequest(name, {})
        except NotHereError:
            return b""
        host.service.check(model, request)
        text: bytes = (await infer(model, request)).outputs["text"].item()
        return text

    clients.on(ASK, ask)
    return host


async def main() -> None:
    links = Link(home=False), Link(home=False)
    await serve(*links, WorkerBackend())
    for link, descriptor in zip(links, sys.argv[1:], strict=True):
        await link.open(socket.socket(fileno=int(descriptor)))
    await links[0].closed


if __name__ == "__main__":
    asyncio.run(main())
