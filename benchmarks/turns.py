"""How long large requests hold the event loop at a time: `python -m benchmarks.turns [--only PATTERN] [--mib 10]`.

A server in this process is asked for something large in each of the ways that there are. While it answers, a task that
does nothing has its turn again and again. What the loop's thread has computed between two of its turns is how long
everybody else would have waited: printed is the longest of these, the median of several requests. It is CPU time,
which other work on the machine changes little; what other threads compute is not in it. The exit status is 0 if none
is longer than 5 ms.
"""

import argparse
import asyncio
import gc
import http.client
import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from benchmarks.large_requests import requests, write_archives, write_many_models, write_models
from benchmarks.request import METHOD, Request
from kserve_v2.net.event_loop import loop_factory
from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings

MOST_MS = 5.0
_REQUESTS = 5
_UNLIMITED: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]

_made = lru_cache(1)(requests)


def _names(mib: float, only: str) -> dict[str, str]:
    """What is asked for, and by the name of whose URL."""
    return {name: request.server for name, request in _made(mib).items() if re.search(only, name)}


def _ask(urls: dict[str, str], name: str, mib: float) -> None:
    """Ask once. In a process of its own."""
    request = _made(mib)[name]
    _sender(urls[request.server], request)()


def _sender(url: str, request: Request) -> Callable[[], object]:
    if request.path.startswith(METHOD):
        channel = grpc.insecure_channel(url, options=_UNLIMITED)
        coding = grpc.Compression.Gzip if request.gzip else None
        if request.path.endswith("ModelStreamInfer"):
            stream = channel.stream_stream(request.path, bytes, bytes)
            return lambda: [*stream(iter([request.body]), compression=coding)]
        call = channel.unary_unary(request.path, bytes, bytes)

        def ask() -> None:
            try:
                call(request.body, compression=coding)
            except grpc.RpcError:
                if request.status == 200:
                    raise

        return ask
    connection = http.client.HTTPConnection(url.removeprefix("http://").partition("/")[0], timeout=100)

    def send() -> None:
        connection.request(
            "POST" if request.body else "GET",
            request.path,
            request.body,
            {"accept-encoding": "identity", **request.headers},
        )
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status != request.status:
            text = content[:300].decode(errors="replace")
            raise RuntimeError(f"{response.status}, expected {request.status}: {text}")

    return send


class _Watch:
    """Has its turn, again and again, and notes how long the loop's thread has computed between two of them."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest_s = max(self.longest_s, now - last)
            last = now

    def stop(self) -> None:
        """It is over."""
        self._task.cancel()


async def _longest_ms(urls: dict[str, str], pool: ProcessPoolExecutor, name: str, mib: float) -> float:
    loop = asyncio.get_running_loop()
    held = []
    for number in range(_REQUESTS + 1):
        watch = _Watch()
        try:
            await loop.run_in_executor(pool, _ask, urls, name, mib)
        finally:
            watch.stop()
        # At the first one, much is done that is not done again.
        held += [watch.longest_s] if number else []
    return median(held) * 1e3


def _servers(folder: Path, urls: Collection[str]) -> Iterator[tuple[str, Server]]:
    """Those that have these URLs, and what is said before the names of theirs."""
    more: dict[str, Any] = {
        "processes": 1,
        "log_info": False,
        "http_port": 0,
        "grpc_port": 0,
        "metrics_port": 0,
    }
    if any(url.startswith("TorchServe") for url in urls):
        properties = write_archives(folder / "store")
        archives = Settings(
            model_repository=(folder / "store",), torchserve=True, ts_config=properties, **more
        )
        yield "", Server(archives, owns_process=False)
    write_models(folder / "models")
    more |= {"model_control_mode": "explicit", "load_model": ("*",), "allow_file_override": True}
    models = Settings(model_repository=(folder / "models",), **more)
    yield "", Server(models, owns_process=False)
    if any(url.startswith("compressed ") for url in urls):
        compresses = replace(models, grpc_infer_response_compression_level="low")
        yield "compressed ", Server(compresses, owns_process=False)
    if any(url.startswith("many ") for url in urls):
        write_many_models(folder / "many")
        many = Settings(model_repository=(folder / "many",), **more)
        yield "many ", Server(many, owns_process=False)


async def _measure(only: str, mib: float) -> bool:
    """Measure, and print. Returns whether no turn was too long."""
    longest: list[float] = []
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="kserve-v2-turns-") as folder,
        ProcessPoolExecutor(1, spawn) as pool,
    ):
        names = await asyncio.get_running_loop().run_in_executor(pool, _names, mib, only)
        servers: list[Server] = []
        urls: dict[str, str] = {}
        for prefix, server in _servers(Path(folder), {*names.values()}):
            servers.append(server)
            await server.start()
            urls |= {f"{prefix}{name}": url for name, url in server.urls.items()}
        # As a server does that has its process to itself.
        gc.collect()
        gc.freeze()
        print(f"{'longest turn of the loop':45} |   ms", flush=True)
        for name in names:
            longest.append(await _longest_ms(urls, pool, name, mib))
            print(f"{name:45} | {longest[-1]:6.1f}{'' if longest[-1] <= MOST_MS else ' *'}", flush=True)
        for server in servers:
            await server.stop()
    return max(longest) <= MOST_MS


def main() -> int:
    """Measure, and print. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    parser.add_argument(
        "--only",
        default="",
        metavar="PATTERN",
        help="a regular expression that is in the name of what is asked for",
    )
    parser.add_argument("--mib", type=float, default=10, help="size of each (default: 10)")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return 0 if runner.run(_measure(options.only, options.mib)) else 1


if __name__ == "__main__":
    sys.exit(main())
