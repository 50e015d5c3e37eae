"""Both ends of a channel in one process, and what is left of memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.memory import CreateMemory, create

# Too much to travel inline.
LARGE = 16 * 1024 + 64
NUMERIC: list[np.dtype[Any]] = [
    *(np.dtype(kind) for kind in ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")),
    np.dtype(ml_dtypes.bfloat16),
]


@contextmanager
def channel_ends(create_memory: CreateMemory = create) -> Iterator[tuple[Channel, Channel]]:
    """Two ends that nobody tends but the test."""
    one, other = (Channel(sock, create_memory=create_memory, tender=None) for sock in Channel.pair())
    try:
        yield one, other
    finally:
        one.close()
        other.close()


def descriptors() -> list[str]:
    """What this process has open, the looking itself excluded."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return found


def segment_descriptors() -> int:
    """How many descriptors of shared memory this process has open."""
    return sum("memfd:kserve-v2" in name for name in descriptors())


def mapped_bytes() -> int:
    """How many bytes of shared memory this process has mapped."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "memfd:kserve-v2" in line:
            low, high = line.split(" ", 1)[0].split("-")
            total += int(high, 16) - int(low, 16)
    return total


def shared_names() -> set[str]:
    """What is in /dev/shm."""
    return {path.name for path in Path("/dev/shm").glob("*")}  # noqa: S108


def same(one: Any, other: Any) -> bool:
    """Whether two arrays are the same in datatype, shape and every bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
