"""The budget for requests in flight, what tensors hold, and what memory there is."""

import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.errors import OverloadedError, ResourceExhaustedError
from kserve_v2.memory.inflight import COUNTED_BYTES, InflightBytes, tensor_bytes
from kserve_v2.memory.limit import memory_limit, oom_kills

# --- the budget ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60), max_size=40))
def test_never_more_than_the_limit_is_taken_and_all_comes_back(sizes: list[int]) -> None:
    inflight, taken = InflightBytes(100), []
    for size in sizes:
        try:
            inflight.take(size)
        except OverloadedError:
            assert sum(taken) + size > 100
        else:
            taken.append(size)
        assert inflight.used == sum(taken) <= 100
    assert inflight.refused == len(sizes) - len(taken)
    for size in taken:
        inflight.give(size)
    assert inflight.used == 0


def test_what_never_fits_is_another_error() -> None:
    inflight = InflightBytes(100)
    with pytest.raises(ResourceExhaustedError, match=r"101 bytes.*100 bytes, --max-inflight-bytes"):
        inflight.take(101)
    inflight.take(100)
    with pytest.raises(OverloadedError, match=r"take 100 bytes, and may take 100 .*try again"):
        inflight.take(1)


def test_what_is_there_is_counted_whether_there_is_room_or_not() -> None:
    inflight = InflightBytes(100)
    inflight.hold(150)
    assert inflight.exceeded
    assert not inflight.has_room(1)
    inflight.hold(-50)
    assert not inflight.exceeded
    assert inflight.has_room(0)


# --- tensors ------------------------------------------------------------------------------------------------------


def test_tensors_of_numbers_hold_their_bytes() -> None:
    assert tensor_bytes({"a": np.zeros((3, 5), np.float32), "b": np.zeros((), np.int64)}) == 60 + 8


def test_tensors_of_texts_hold_their_contents() -> None:
    texts = np.array([[b"x" * 1000, b""], [b"y" * 10, b"z"]], object)
    assert tensor_bytes({"a": texts}) >= 4 * 8 + 1011


def test_a_clients_shared_memory_is_not_the_servers() -> None:
    mapped = memoryview(mmap.mmap(-1, 10 * COUNTED_BYTES))[COUNTED_BYTES:]
    array = np.ndarray((3, COUNTED_BYTES), np.uint8, mapped)
    assert tensor_bytes({"a": array, "b": array[1:].view(np.float32)}) == 0
    assert tensor_bytes({"a": array.copy()}) == 3 * COUNTED_BYTES


# --- memory -------------------------------------------------------------------------------------------------------


def tree(root: Path, files: dict[str, str]) -> Path:
    """Files below `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


GROUPS = {
    "version 2": ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "5000\n"}, 5000),
    "of a parent": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/memory.max": "4000\n",
        },
        4000,
    ),
    "in a container": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "3000\n"}, 3000),
    "version 1": (
        {
            "proc/self/cgroup": "5:cpu:/x\n4:hugetlb,memory:/x\n",
            "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2000\n",
        },
        2000,
    ),
    "version 1 in a container": (
        {
            "proc/self/cgroup": "4:memory:/docker/123\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
        },
        1000,
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_limit_of_a_control_group(tmp_path: Path, name: str) -> None:
    files, expected = GROUPS[name]
    assert memory_limit(tree(tmp_path, files)) == expected


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "nonsense\n\n"},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
        {
            "proc/self/cgroup": "4:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    ],
    ids=["nothing", "nonsense", "max", "version 1 without one"],
)
def test_without_a_limit_it_is_the_machines_memory(tmp_path: Path, files: dict[str, str]) -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("only Linux says it there")
    described = Path("/proc/meminfo").read_text(encoding="ascii").split()
    machine = int(described[described.index("MemTotal:") + 1]) * 1024
    found = memory_limit(tree(tmp_path, files))
    assert found <= machine * 1.1
    assert found == memory_limit(tmp_path / "elsewhere")


EVENTS = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.events": EVENTS}, 2),
        # Those that it is part of have other processes, too.
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.events": "oom_kill 0\n",
                "sys/fs/cgroup/a/memory.events": EVENTS,
            },
            0,
        ),
        ({"proc/self/cgroup": "0::/docker/123\n", "sys/fs/cgroup/memory.events": EVENTS}, 2),
        (
            {
                "proc/self/cgroup": "4:memory:/a\n",
                "sys/fs/cgroup/memory/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
            },
            7,
        ),
        ({"proc/self/cgroup": "0::/\n"}, 0),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.events": "low 0\n"}, 0),
        ({}, 0),
    ],
)
def test_processes_that_the_kernel_has_killed(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert oom_kills(tree(tmp_path, files)) == expected
