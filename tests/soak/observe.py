"""What a server's process holds, from outside and by its own model `census`."""

from dataclasses import dataclass
from pathlib import Path

from tests.conftest import RunningServer
from tests.integration.support import json_tensor, metric, statistics, wait_until
from tests.soak.models import COUNTED_MODELS

MAX_GROWTH_BYTES = 16 * 1024 * 1024
"""By how much the resident memory may have grown since the warm-up: about one batch of large buffers more."""


@dataclass(frozen=True)
class State:
    """What a server holds when nobody is connected."""

    descriptors: int
    threads: int
    tasks: int
    objects: int
    resident_bytes: int

    def left_over(self, before: "State") -> list[str]:
        """What there is more than `before`."""
        found = [
            f"{getattr(self, name)} {name}, {getattr(before, name)} before"
            for name in ("descriptors", "threads", "tasks")
            if getattr(self, name) > getattr(before, name)
        ]
        growth = self.resident_bytes - before.resident_bytes
        if growth > MAX_GROWTH_BYTES:
            found.append(f"{growth / 2**20:.1f} MiB more memory")
        return found


def observe(server: RunningServer) -> State:
    """Ask once. The connection that asks is counted, too: it is the same one every time."""
    answer = server.infer("census", {"inputs": [json_tensor("ASK", "INT64", [1], [0])]}).json()
    census = {output["name"]: output["data"][0] for output in answer["outputs"]}
    process = Path(f"/proc/{server.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return State(
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        census["TASKS"],
        census["OBJECTS"],
        pages * 4096,
    )


def settled(server: RunningServer, before: State | None) -> State:
    """The state once nothing is in flight and, if that comes to pass, nothing is left over. All clients have gone."""
    # Answered or given up: the queues are empty, and no descriptor is left of a connection that has ended.
    wait_until(lambda: in_flight(server) == 0)
    found: list[State] = []

    def calm() -> bool:
        found.append(observe(server))
        if before is not None:
            return not found[-1].left_over(before)
        return (
            len(found) > 1
            and found[-1].descriptors == found[-2].descriptors
            and found[-1].tasks == found[-2].tasks
        )

    try:
        wait_until(calm, seconds=15)
    except AssertionError:
        if before is None:
            raise
    return found[-1]


def in_flight(server: RunningServer) -> int:
    """Requests that wait, of all models."""
    return sum(
        int(metric(server, "nv_inference_pending_request_count", model=name)) for name in COUNTED_MODELS
    )


def counted(server: RunningServer) -> dict[str, tuple[int, int]]:
    """Success and failure of each model, as the server's statistics have them."""
    every = {name: statistics(server, name)["inference_stats"] for name in COUNTED_MODELS}
    return {name: (stats["success"]["count"], stats["fail"]["count"]) for name, stats in every.items()}
