"""Sends mixed requests over both protocols to one server, and checks that nothing is lost and nothing is left.

    python -m tests.soak --requests 1000000 --clients 32 --seed 1 -- --processes=2

Everything behind `--` goes to the server. The exit status is 0 if every request had its outcome and its right answer, and
the server holds no more descriptors, threads, tasks and memory than after the warm-up.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from grpc import aio

from tests.conftest import RunningServer, launch
from tests.soak.grpc_traffic import GrpcTraffic
from tests.soak.ledger import Ledger
from tests.soak.models import write_models
from tests.soak.observe import State, counted, settled
from tests.soak.outcome import verdict
from tests.soak.rest_traffic import RestTraffic, infer_object

Send = Callable[[int], Awaitable[None]]

# Weights: most requests are ordinary, as in life, and everything else happens all the time.
_REST = {
    "json": 22, "binary": 22, "pipelined": 2, "moody": 3, "wrong": 3, "broken": 1, "part": 3, "leave": 4,
    "generate": 3, "leave_generate": 2, "add": 10, "leave_add": 2, "bulk": 0.3, "leave_bulk": 0.2,
}  # fmt: skip
_GRPC = {
    "unary": 20,
    "moody": 2,
    "wrong": 2,
    "deadline": 3,
    "cancel": 3,
    "disconnect": 0.5,
    "stream": 4,
    "leave_stream": 2,
    "add": 8,
    "cancel_add": 2,
    "bulk": 0.3,
    "cancel_bulk": 0.5,
}

_CLIENTS_OF_A_CHANNEL = 8
_LARGE_AT_FIRST = 5


class Load:
    """Clients that send requests until a number is reached. Tags are the requests' numbers."""

    def __init__(self, server: RunningServer, ledger: Ledger, clients: int, seed: int) -> None:
        self._server = server
        self._ledger = ledger
        self._clients = clients
        self._seed = seed
        self.sent = 0

    async def run(self, until: int) -> None:
        """Send requests up to number `until`; all connections are new, and closed behind it."""
        address = self._server.rest.removeprefix("http://")
        channels = [
            aio.insecure_channel(self._server.grpc, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(-(-self._clients // _CLIENTS_OF_A_CHANNEL))
        ]
        async with asyncio.TaskGroup() as group:
            for number in range(self._clients):
                chance = random.Random(f"{self._seed} {number} {self.sent}")  # noqa: S311 - repeatable
                rest = RestTraffic(address, self._ledger, chance)
                channel = channels[number // _CLIENTS_OF_A_CHANNEL]
                grpc = GrpcTraffic(self._server.grpc, channel, self._ledger, chance)
                group.create_task(self._client(rest, grpc, chance, until))
        for channel in channels:
            await channel.close()

    async def _client(self, rest: RestTraffic, grpc: GrpcTraffic, chance: random.Random, until: int) -> None:
        kinds: list[tuple[str, Send]] = [(f"REST {name}", getattr(rest, name)) for name in _REST]
        kinds += [(f"gRPC {name}", getattr(grpc, name)) for name in _GRPC]
        weights = [*_REST.values(), *_GRPC.values()]
        # All clients at once: the server's memory has its peak in the warm-up, and what grows later is a leak.
        for _ in range(_LARGE_AT_FIRST):
            await rest.bulk(0)
            await grpc.bulk(0)
        while self.sent < until:
            tag, self.sent = self.sent, self.sent + 1
            [(name, send)] = chance.choices(kinds, weights)
            self._ledger.kinds[name] += 1
            try:
                async with asyncio.timeout(60):
                    await send(tag)
            except Exception as error:
                raise RuntimeError(f"{name}, tag {tag}") from error
        await rest.close()


async def show_progress(load: Load, total: int) -> None:
    """One line on a terminal, or a line now and then."""
    started, terminal = time.monotonic(), sys.stderr.isatty()
    while True:
        await asyncio.sleep(1 if terminal else 20)
        seconds = time.monotonic() - started
        print(
            f"{load.sent:,} of {total:,} requests, {seconds:.0f} s, {load.sent / seconds:,.0f}/s",
            end="\r" if terminal else "\n", file=sys.stderr, flush=True,
        )  # fmt: skip


async def soak(server: RunningServer, load: Load, total: int) -> tuple[State, State]:
    """Warm up, look, send the rest, look again."""
    progress = asyncio.create_task(show_progress(load, total))
    await load.run(total // 10)
    before = await asyncio.to_thread(settled, server, None)
    await load.run(total)
    progress.cancel()
    return before, await asyncio.to_thread(settled, server, before)


def repeated(server: RunningServer) -> int:
    """How many requests the model has executed more than once."""
    [output] = [
        each for each in server.infer("tagged", infer_object(-1)).json()["outputs"] if each["name"] == "Y"
    ]
    return int(output["data"][0])


def report(
    ledger: Ledger, before: State, after: State, seconds: float, numbers: dict[str, tuple[int, int]]
) -> None:
    """The figures of a run."""
    total = sum(ledger.kinds.values())
    print(f"{total:,} requests in {seconds:.0f} s ({total / seconds:,.0f}/s)")
    print(f"  {ledger.sent}")
    for name, account in sorted(ledger.accounts.items()):
        success, fail = numbers[name]
        print(f"  {account}, model {name}: the server counts {success:,} success, {fail:,} fail")
    print(f"  after the warm-up {before}\n  at the end        {after}")


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """The command line: options, and the server's flags behind `--`."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000, metavar="N", help="how many [1000000]")
    parser.add_argument("--clients", type=int, default=32, metavar="N", help="how many at a time [32]")
    parser.add_argument("--seed", type=int, default=1, help="chooses the order of the requests [1]")
    parser.add_argument("flags", nargs="*", help="for the server, behind --")
    options = parser.parse_args()
    return options, options.flags


def main() -> int:
    """Run; returns the exit status."""
    options, flags = arguments()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "models")
        write_models(repository, options.requests)
        server = launch(Path(folder), repository, *flags)
        ledger = Ledger()
        load = Load(server, ledger, options.clients, options.seed)
        started = time.monotonic()
        try:
            before, after = uvloop.run(soak(server, load, options.requests))
            seconds = time.monotonic() - started
            numbers = counted(server)
            problems = [*ledger.problems(numbers), *after.left_over(before)]
            if again := repeated(server):
                problems.append(f"{again} requests executed more than once")
            report(ledger, before, after, seconds, numbers)
        finally:
            status = server.stop()
        if status:
            problems.append(f"the server ended with {status}")
        if "Traceback" in server.log:
            problems.append(f"the server's log: {server.log[:2000]}")
    return verdict(problems)


if __name__ == "__main__":
    sys.exit(main())
