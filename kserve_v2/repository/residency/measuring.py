"""What models use of memory, as well as that can be known.

Of a model in processes of its own it is what those take up (their proportional share of pages). In the server's process
it is the weights, where the backend knows them, or else what the process has grown by during the load (`growth`).
Before a load it is what it was the last time, and what the files have grown by since, or else the size of the files.
All but the first two are estimates, and are shown as such.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG

from kserve_v2.backend import ModelSource, Placement
from kserve_v2.repository.residency.eviction import Use, total

CPU = "cpu"

_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes by device, and whether they are an estimate."""

    bytes: Use = field(default_factory=dict)
    estimated: bool = False

    def __str__(self) -> str:
        about = "~" if self.estimated else ""
        return ", ".join(
            f"{about}{shown(size)}" + ("" if device == CPU else f" on {device}")
            for device, size in sorted(self.bytes.items())
        )


def times(use: MemoryUse, copies: int) -> MemoryUse:
    """What so many copies use together."""
    return (
        use
        if copies == 1
        else replace(use, bytes={device: size * copies for device, size in use.bytes.items()})
    )


def shown(size: int) -> str:
    """A size for people."""
    number, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while number >= 1024 and len(units) > 1:
        number, units = number / 1024, units[1:]
    return f"{number:.0f} {units[0]}" if units[0] == "B" else f"{number:.1f} {units[0]}"


def device_name(device: str) -> str:
    """`cuda:1` as budgets have it: `gpu1`."""
    return f"gpu{device.partition(':')[2] or 0}" if device.startswith("cuda") else CPU


def resident_bytes() -> int:
    """What this process takes up; 0 where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def processes_bytes(pids: Iterable[int]) -> int:
    """What processes take up, of shared pages their part. Blocks for some milliseconds for each GiB. One that has ended
    takes up nothing.
    """
    sizes = 0
    for pid in pids:
        try:
            found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
        except OSError:
            continue
        sizes += int(found[1]) * 1024 if found else 0
    return sizes


def size_of_files(folder: Path, placements: Iterable[Placement]) -> MemoryUse:
    """What a version is going to use, by its files: once on each of its devices. Blocks on the file system."""
    size = _bytes_in(folder)
    return MemoryUse({device_name(each.device): size for each in placements}, estimated=True)


def source_bytes(source: ModelSource) -> int:
    """The size of a version's files. Blocks on the file system."""
    return _bytes_in(source.files_path)


def _bytes_in(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            found = path.stat()
        except OSError:
            continue
        size += found.st_size if S_ISREG(found.st_mode) else 0
    return size


def expected_use(used: MemoryUse, then: MemoryUse, files: MemoryUse) -> MemoryUse:
    """What a version is going to use that `used` so much when it was loaded the last time. `then`: its files, by their
    size, at that time; `files`: now. What other files are larger by, it takes more.
    """
    if files.bytes == then.bytes:
        return used
    sizes = {
        device: max(0, used.bytes.get(device, 0) + files.bytes.get(device, 0) - then.bytes.get(device, 0))
        for device in {**used.bytes, **files.bytes}
    }
    return MemoryUse(sizes, estimated=True)


def use_in_process(known: Mapping[str, int] | None, files: MemoryUse, growth: int | None) -> MemoryUse:
    """What a model in this process uses. `known`: its weights by device, in the backends' spelling. `files`: by their
    size. `growth`: of the process during the load, as far as it may be the model's; None if that cannot be told.
    """
    # Of a frozen TorchScript module, the weights are constants, and none are known.
    if known and any(known.values()):
        return MemoryUse(total([{device_name(device): size} for device, size in known.items()]))
    on_cpu = files.bytes.get(CPU, 0)
    if growth is not None:
        on_cpu = max(on_cpu, growth)
    return MemoryUse({**files.bytes, CPU: on_cpu}, estimated=True)
