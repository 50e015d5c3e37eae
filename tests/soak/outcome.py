"""How a soak ends whose server is changed or killed meanwhile: what the server holds then, and what is said of it."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import RunningServer
from tests.isolation.conftest import children
from tests.soak.ledger import Ledger
from tests.soak.named_threads import POOL

_MAX_GROWTH_BYTES = 48 * 1024 * 1024


class State:
    """What a server holds when nobody asks it for anything. `descriptors`: by kind, of the first process and the workers
    that are named; the rest is of the first one.
    """

    def __init__(
        self, server: RunningServer, workers: Sequence[int] = (), max_growth: int = _MAX_GROWTH_BYTES
    ) -> None:
        """`max_growth`: by how many bytes more than another state's the resident memory may be."""
        process = Path(f"/proc/{server.process.pid}")
        self.max_growth = max_growth
        self.descriptors: Counter[str] = Counter()
        self.segments = 0
        unix = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()}
        for link in [
            each for pid in (server.process.pid, *workers) for each in Path(f"/proc/{pid}/fd").iterdir()
        ]:
            with suppress(FileNotFoundError):
                name = str(link.readlink())
                is_segment = "memfd:" in name
                self.segments += is_segment
                if not is_segment:
                    self.descriptors[_kind(name, unix)] += 1
        self.threads: Counter[str] = Counter()
        for task in (process / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                self.threads[(task / "comm").read_text().rstrip("\n")] += 1
        self.processes = len(children(server.process.pid))
        self.mappings = (process / "maps").read_text().count("memfd:")
        self.resident = int((process / "statm").read_text().split()[1]) * 4096

    def __str__(self) -> str:
        return str(vars(self))

    def left_over(self, before: "State") -> list[str]:
        """What there is more than `before`."""
        found = [
            f"{getattr(self, name)} {name}, {getattr(before, name)} before"
            for name in ("segments", "mappings")
            if getattr(self, name) > getattr(before, name)
        ]
        found += [
            f"{count} descriptors '{kind}', {before.descriptors[kind]} before"
            for kind, count in sorted(self.descriptors.items())
            if count > before.descriptors[kind]
        ]
        found += new_threads(self.threads, before.threads)
        if self.processes != before.processes:
            found.append(f"{self.processes} processes, {before.processes} before")
        if self.resident - before.resident > self.max_growth:
            found.append(f"{(self.resident - before.resident) / 2**20:.1f} MiB more memory")
        return found


def _kind(name: str, unix: Collection[str]) -> str:
    """What a descriptor is, by what it is a link to. `unix`: the numbers of sockets that are none of the network."""
    if name.startswith("socket:["):
        return "unix socket" if name[8:-1] in unix else "socket"
    return name.partition(":[")[0] if not name.startswith("anon_inode:") else name


def new_threads(now: Counter[str], before: Counter[str]) -> list[str]:
    """What there are more threads of, by the names that `named_threads` gives them. A pool starts one more when all
    that it has are busy at once, which a busy machine may bring about at any time; nothing else may.
    """
    counts, counts_before = _but_pools(now), _but_pools(before)
    return [
        f"{count} threads '{name}', {counts_before[name]} before"
        for name, count in sorted(counts.items())
        if count > counts_before[name]
    ]


def _but_pools(threads: Counter[str]) -> Counter[str]:
    """The threads without those of pools, whose names are unique: others of these names a library has started."""
    counts: Counter[str] = Counter()
    for name, count in threads.items():
        if name.startswith(POOL):
            counts[f"{POOL}(library)"] += count - 1
        else:
            counts[name] += count
    return counts


@dataclass
class Outcome:
    """The server's states when it was warm and at the end, how long it took, and what was wrong."""

    before: State
    after: State
    seconds: float
    problems: list[str]


def carried_out(server: RunningServer, ledger: Ledger, run: Callable[[], tuple[State, State]]) -> Outcome:
    """Run a soak to its end, and stop its server, whose log is printed if the soak itself fails."""
    started = time.monotonic()
    try:
        before, after = run()
    finally:
        if sys.exc_info()[0] is not None:
            print(server.log[-8000:])
        status = server.stop()
    seconds = time.monotonic() - started
    problems = [*ledger.wrong[:20], *after.left_over(before)]
    if status:
        problems.append(f"the server ended with {status}")
    return Outcome(before, after, seconds, problems)


def report(outcome: Outcome, ledger: Ledger, *, sent: int, happened: str, since: str) -> int:
    """Print the figures and the problems; returns the exit status. `since`: after what the server was warm."""
    warm = f"after {since}"
    print(f"{sent:,} requests in {outcome.seconds:.0f} s; {happened}")
    print(f"  {ledger.sent}")
    print(f"  {warm} {outcome.before}\n  {'at the end':{len(warm)}} {outcome.after}")
    return verdict(outcome.problems)


def verdict(problems: list[str]) -> int:
    """Print them; returns the exit status."""
    print("\n".join(f"PROBLEM: {each}" for each in problems) or "no problem found")
    return 1 if problems else 0
