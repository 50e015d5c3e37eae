"""Sends mixed requests to models in processes of their own while these are killed and loaded again.

    python -m tests.soak.isolated --requests 10000 --clients 16 --seed 1 --kill-every 0.3

Everything behind `--` goes to the server. The exit status is 0 if every request had one outcome, which was its own, each
model answered again after each kill, and nothing is left: descriptors, threads, processes, memory.
"""

import argparse
import asyncio
import gc
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import uvloop
from grpc import aio

from tests.conftest import RunningServer, launch
from tests.integration.support import json_tensor, metric, wait_until
from tests.isolation.conftest import children
from tests.isolation.ends import shared_names
from tests.soak.http1 import Connection
from tests.soak.isolated_models import ISOLATED, UNARY, write_isolated
from tests.soak.isolated_traffic import IsolatedTraffic, rest_request, tensors, values
from tests.soak.ledger import Ledger
from tests.soak.named_threads import NAMED_THREADS, ROOT
from tests.soak.outcome import State, carried_out, report

_WEIGHTS = {
    "rest": 30, "grpc": 30, "free": 6, "deadline": 6, "cancel": 4, "leave": 5, "disconnect": 2, "stream": 8,
    "leave_stream": 4,
}  # fmt: skip

# With each death of a young process its successor waits longer; a load begins anew.
_KILLS_BEFORE_A_LOAD = 3


class Soak:
    """Clients, and somebody who kills what they ask."""

    def __init__(
        self, server: RunningServer, repository: Path, ledger: Ledger, options: argparse.Namespace
    ) -> None:
        self._server = server
        self._repository = repository
        self._ledger = ledger
        self._options = options
        self._http = httpx.AsyncClient(timeout=120)
        self._since_load = dict.fromkeys(ISOLATED, 0)
        self.sent = self.kills = self.loads = 0

    async def run(self) -> tuple[State, State]:
        """Warm up, look, send all of them, look again."""
        await self._send(self._options.requests // 10)
        before = await self._calm(None)
        killer = asyncio.create_task(self._kill())
        await self._send(self._options.requests)
        killer.cancel()
        with suppress(asyncio.CancelledError):
            await killer
        for model in ISOLATED:
            await self._await_answer(model)
        after = await self._calm(before)
        await self._http.aclose()
        return before, after

    async def _send(self, until: int) -> None:
        chance = random.Random(f"{self._options.seed} {self.sent}")  # noqa: S311 - repeatable
        rest = self._server.rest.removeprefix("http://")
        channels = [
            aio.insecure_channel(self._server.grpc, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(3)
        ]
        async with asyncio.TaskGroup() as group:
            for number in range(self._options.clients):
                own = random.Random(chance.random())  # noqa: S311
                channel = channels[number % len(channels)]
                traffic = IsolatedTraffic(rest, self._server.grpc, channel, self._ledger, own)
                group.create_task(self._client(traffic, own, until))
        for channel in channels:
            await channel.close()

    async def _client(self, traffic: IsolatedTraffic, chance: random.Random, until: int) -> None:
        while self.sent < until:
            tag, self.sent = self.sent, self.sent + 1
            [name] = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
            self._ledger.kinds[name] += 1
            try:
                async with asyncio.timeout(180):
                    await getattr(traffic, name)(tag)
            except Exception as error:
                raise RuntimeError(f"{name}, tag {tag}") from error
        await traffic.close()

    # --- what happens meanwhile -------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        chance = random.Random(f"kill {self._options.seed}")  # noqa: S311
        while True:
            await asyncio.sleep(chance.uniform(0, 2 * self._options.kill_every))
            if chance.random() < 0.2:
                # Half-way through something.
                self._kill_one(chance, signal.SIGSTOP)
            self._kill_one(chance)
            if chance.random() < 0.5:
                await self._let_live(chance)

    def _kill_one(self, chance: random.Random, number: int = signal.SIGKILL) -> None:
        pids = children(self._server.process.pid)
        if pids:
            self.kills += number == signal.SIGKILL
            pid = chance.choice(pids)
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if number == signal.SIGSTOP:
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.2), self._go_on, pid)

    def _go_on(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def _let_live(self, chance: random.Random) -> None:
        """All of them answer again; those that have died often are loaded anew."""
        for model in ISOLATED:
            deaths = await self._deaths(model)
            if deaths >= _KILLS_BEFORE_A_LOAD or chance.random() < 0.05:
                asyncio.get_running_loop().call_later(chance.uniform(0, 1), self._kill_one, chance)
                await self._load(model)
            elif deaths > self._since_load[model]:
                await self._await_answer(model)
            self._since_load[model] = await self._deaths(model)

    async def _deaths(self, model: str) -> int:
        text = (await self._http.get(self._server.metrics)).text
        for line in text.splitlines():
            if line.startswith("kserve_v2_model_process_deaths") and f'model="{model}"' in line:
                return int(float(line.rpartition(" ")[2]))
        return 0

    async def _load(self, model: str) -> None:
        """Load a model anew, even if somebody kills its new process meanwhile."""
        for _ in range(10):
            self.loads += 1
            self._change(model)
            answer = await self._http.post(f"{self._server.rest}/v2/repository/models/{model}/load")
            if answer.status_code == 200 or "was killed by signal 9" not in answer.text:
                break
        self._ledger.expect(answer.status_code == 200, f"load {model}: {answer.text}")
        await self._await_answer(model)

    def _change(self, model: str) -> None:
        """What has not changed is not loaded again."""
        Path(self._repository, model, "1", "load.txt").write_text(str(self.loads))

    async def _await_answer(self, model: str) -> None:
        """Ready, and so far from being forgotten that it answers."""
        deadline = time.monotonic() + 60
        while True:
            answer = await self._http.get(f"{self._server.rest}/v2/models/{model}/ready")
            if answer.status_code == 200:
                return
            if time.monotonic() > deadline:
                self._ledger.expect(False, f"{model} does not come back: {answer.text}")
                return
            await asyncio.sleep(0.02)

    async def _calm(self, before: State | None) -> State:
        """The state once nothing is under way, all processes are new, and idle memory was given back, or after a while."""
        await asyncio.to_thread(wait_until, self._is_idle, 60)
        # What a process needs in some cases only, and then keeps, goes with it.
        for model in ISOLATED:
            await self._load(model)
        await self._forget()
        # Its connections are counted with the server's.
        await self._http.aclose()
        self._http = httpx.AsyncClient(timeout=120)
        deadline = time.monotonic() + 25
        state = State(self._server)
        while time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            # Calls that were left keep their connections until they are collected.
            gc.collect()
            # Collects garbage, too.
            census = {"inputs": [json_tensor("ASK", "INT64", [1], [0])]}
            await asyncio.to_thread(self._server.infer, "census", census)
            last, state = state, State(self._server)
            if (
                before is None
                and not state.segments
                and not state.mappings
                and state.descriptors == last.descriptors
            ):
                break
            if before is not None and not state.left_over(before):
                break
        return state

    async def _forget(self) -> None:
        """Have all of them see small tensors last: some keep what they have seen."""
        address = self._server.rest.removeprefix("http://")
        for _ in range(8):
            for model in (*UNARY, "free"):
                connection = await Connection.open(address)
                await connection.send(rest_request(model, 0, tensors(model, 0, values(0, 4))))
                await connection.answer()
                await connection.close()

    def _is_idle(self) -> bool:
        return all(
            metric(self._server, "nv_inference_pending_request_count", model=name) == 0 for name in ISOLATED
        )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.isolated")
    parser.add_argument("--requests", type=int, default=10_000, metavar="N", help="how many [10000]")
    parser.add_argument("--clients", type=int, default=16, metavar="N", help="how many at a time [16]")
    parser.add_argument("--seed", type=int, default=1, help="chooses the order of what happens [1]")
    parser.add_argument(
        "--kill-every", type=float, default=0.3, metavar="S", help="seconds between kills [0.3]"
    )
    parser.add_argument("flags", nargs="*", help="for the server, behind --")
    return parser.parse_args()


def main() -> int:
    """Run; returns the exit status."""
    options = arguments()
    names = shared_names()
    ledger = Ledger()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "models")
        write_isolated(repository)
        flags = (
            "--model-control-mode=explicit",
            "--load-model=*",
            "--isolate=python,onnxruntime",
            *options.flags,
        )
        server = launch(Path(folder), repository, *flags, cwd=ROOT, program=NAMED_THREADS)
        soak = Soak(server, repository, ledger, options)
        outcome = carried_out(server, ledger, lambda: uvloop.run(soak.run()))
        for word in ("Traceback", "has sent what it must not", "Exception in callback"):
            if word in server.log:
                at = server.log.index(word)
                outcome.problems.append(f"the server's log: {server.log[max(0, at - 500) : at + 2000]}")
    # Others may use this machine, too.
    if left := {each for each in shared_names() - names if not each.startswith("triton_")}:
        outcome.problems.append(f"left in /dev/shm: {left}")
    happened = f"{soak.kills} kills, {soak.loads} loads"
    return report(outcome, ledger, sent=soak.sent, happened=happened, since="the warm-up")


if __name__ == "__main__":
    sys.exit(main())
