"""Sends mixed requests to a server of several processes while its workers are killed.

    python -m tests.soak.workers --requests 1000000 --clients 16 --seed 1 --kill-every 3 -- --processes=4

Everything behind `--` goes to the server, which has two processes unless that says otherwise. The exit status is 0 if
every request was answered by its own answer, or had its connection broken by a kill; if the server's statistics are the
sum of that, but for what a worker had not told yet when it was killed; and if the first process holds no more
descriptors, threads and memory than after the warm-up.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import uvloop

from tests.conftest import RunningServer, launch
from tests.integration.support import metric, statistics, wait_until
from tests.soak.ledger import Ledger
from tests.soak.named_threads import ROOT
from tests.soak.outcome import State, carried_out, report
from tests.soak.rest_traffic import infer_object
from tests.soak.worker_models import COUNTED, REPLICATED, write_worker_models
from tests.soak.worker_traffic import WAIT_SECONDS, Kills, WorkerTraffic

_WEIGHTS = {
    "rest_add": 24, "rest_shared": 12, "rest_single": 12, "rest_stream": 3, "rest_sequence": 3,
    "grpc_add": 18, "grpc_shared": 8, "grpc_single": 8, "grpc_stream": 3, "grpc_sequence": 3,
}  # fmt: skip

# How often a client closes its connections: so many requests of all.
_LEAVES = 0.02

# How many of those who do not answer yet when they could be killed are.
_KILLED_EARLY = 0.1


def workers(server: RunningServer) -> list[int]:
    """The processes beside the first one."""
    found = []
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        with suppress(OSError):
            for pid in (task / "children").read_text().split():
                with suppress(OSError):
                    if b"processes/__main__.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(int(pid))
    return found


class Soak:
    """Clients, and somebody who kills workers."""

    def __init__(self, server: RunningServer, ledger: Ledger, options: argparse.Namespace) -> None:
        self._server = server
        self._ledger = ledger
        self._options = options
        self.kills = Kills(options.lost_secs)
        self.missing: dict[str, int] = {}
        """By model, answers that were not counted."""
        self.sent = 0
        self._most = options.requests

    async def run(self) -> tuple[State, State]:
        """Warm up, look, send all of them, look again, and compare what was counted. Ctrl-C ends the sending."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._send_no_more)
        killer = asyncio.create_task(self._kill())
        await self._send(self._options.requests // 10)
        before = await asyncio.to_thread(self._calm, None)
        await self._send(self._options.requests)
        killer.cancel()
        with suppress(asyncio.CancelledError):
            await killer
        after = await asyncio.to_thread(self._calm, before)
        await asyncio.to_thread(self._compare)
        return before, after

    def _send_no_more(self) -> None:
        self._most = 0

    async def _send(self, until: int) -> None:
        rest = self._server.rest.removeprefix("http://")
        async with asyncio.TaskGroup() as group:
            for number in range(self._options.clients):
                chance = random.Random(f"{self._options.seed} {number} {self.sent}")  # noqa: S311 - repeatable
                traffic = WorkerTraffic(rest, self._server.grpc, self._ledger, self.kills, chance)
                group.create_task(self._client(traffic, chance, until))

    async def _client(self, traffic: WorkerTraffic, chance: random.Random, until: int) -> None:
        while self.sent < min(until, self._most):
            tag, self.sent = self.sent, self.sent + 1
            [name] = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
            self._ledger.kinds[name] += 1
            try:
                async with asyncio.timeout(2 * WAIT_SECONDS):
                    await getattr(traffic, name)(tag)
            except Exception as error:
                raise RuntimeError(f"{name}, tag {tag}") from error
            if chance.random() < _LEAVES:
                await traffic.leave()
            if tag % 20_000 == 0:
                print(f"{tag:,} requests, {len(self.kills.times)} kills", file=sys.stderr, flush=True)
        await traffic.close()

    async def _kill(self) -> None:
        chance = random.Random(f"kill {self._options.seed}")  # noqa: S311
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(chance.uniform(0, 2 * self._options.kill_every))
            pids = await asyncio.to_thread(workers, self._server)
            # Most of them while they answer, and some while they begin.
            if pids and (chance.random() < _KILLED_EARLY or await asyncio.to_thread(self._serves)):
                self.kills.times.append(loop.time())
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)

    def _serves(self) -> bool:
        """Whether workers have connections. Blocks."""
        return any(
            metric(self._server, "kserve_v2_connections", process=str(number), protocol=protocol) > 0
            for number in range(1, self._options.processes)
            for protocol in ("rest", "grpc")
        )

    def _calm(self, before: State | None) -> State:
        """The state once nothing waits and all workers are there again, or after a while. Blocks."""
        wait_until(lambda: all(self._pending(model) == 0 for model in COUNTED), 60)
        wait_until(lambda: len(workers(self._server)) == self._options.processes - 1, 60)
        found = [State(self._server)]

        def calm() -> bool:
            found.append(State(self._server))
            # Clients' connections, and sequences that nobody ends, go by and by.
            return not found[-1].left_over(before or found[-2])

        with suppress(AssertionError):
            wait_until(calm, 20)
        return found[-1]

    def _pending(self, model: str) -> float:
        return metric(self._server, "nv_inference_pending_request_count", model=model)

    def _compare(self) -> None:
        """Whether the server has counted what the clients have seen. Blocks."""
        self.kills.settle()
        for model in COUNTED:
            account, stats = self._ledger.account(model), statistics(self._server, model)["inference_stats"]
            success, fail = stats["success"]["count"], stats["fail"]["count"]
            most = self.kills.uncounted[model] if model in REPLICATED else 0
            self.missing[model] = max(0, account.answered - success) + max(0, account.failed - fail)
            low = account.answered + account.failed - most
            high = account.answered + account.failed + account.unsure
            self._ledger.expect(
                low <= success + fail <= high,
                f"{model}: {success} success and {fail} failures are counted, expected {low} to {high}: {account}",
            )
            self._ledger.expect(
                success <= account.answered + account.unsure, f"{model}: {success} > {account}"
            )
            self._ledger.expect(fail <= account.failed + account.unsure, f"{model}: {fail} > {account}")
            self._ledger.expect(
                success == metric(self._server, "nv_inference_request_success", model=model),
                f"{model}: metrics and statistics differ",
            )
        outputs = self._server.infer("tagged", infer_object(-1)).json()["outputs"]
        [again] = [each["data"][0] for each in outputs if each["name"] == "Y"]
        self._ledger.expect(again == 0, f"{again:g} requests were executed more than once")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.workers")
    parser.add_argument("--requests", type=int, default=1_000_000, metavar="N", help="how many [1000000]")
    parser.add_argument("--clients", type=int, default=16, metavar="N", help="how many at a time [16]")
    parser.add_argument("--seed", type=int, default=1, help="chooses the order of what happens [1]")
    parser.add_argument("--kill-every", type=float, default=3, metavar="S", help="seconds between kills [3]")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="of the server [2]")
    parser.add_argument(
        "--lost-secs",
        type=float,
        default=2,
        metavar="S",
        help="what a killed worker may not have told: it tells each second, or later if the machine is busy [2]",
    )
    parser.add_argument("flags", nargs="*", help="for the server, behind --")
    return parser.parse_args()


def main() -> int:
    """Run; returns the exit status."""
    options = arguments()
    ledger = Ledger()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "models")
        write_worker_models(repository, options.requests)
        program = ("tests.soak.quick_restarts", "serve")
        flags = (f"--processes={options.processes}", *options.flags)
        server = launch(Path(folder), repository, *flags, cwd=ROOT, program=program)
        soak = Soak(server, ledger, options)
        outcome = carried_out(server, ledger, lambda: uvloop.run(soak.run()))
        for word in ("Traceback", "Exception in callback", "does not go by what it is told"):
            if word in server.log:
                at = server.log.index(word)
                outcome.problems.append(f"the server's log: {server.log[max(0, at - 500) : at + 2000]}")
    missing = ", ".join(f"{model} {count:,}" for model, count in soak.missing.items() if count) or "none"
    happened = (
        f"{len(soak.kills.times)} kills; not counted: {missing} (of "
        f"{soak.kills.uncounted.total():,} answers that may not have been)"
    )
    return report(outcome, ledger, sent=soak.sent, happened=happened, since="the warm-up")


if __name__ == "__main__":
    sys.exit(main())
