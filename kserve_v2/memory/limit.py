"""How much memory the process may use: the machine's, or less where a control group or a resource limit says so. And
whether the kernel has killed anybody because there was none left.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Where nothing can be found out.
_ASSUMED_BYTES = 4 * 1024**3


def memory_limit(root: Path = Path("/")) -> int:
    """In bytes. `root`: of the file system that describes the system."""
    return min([_physical_bytes(), *_control_group_limits(root), *_resource_limits()])


def _physical_bytes() -> int:
    if sys.platform == "win32":
        return _ASSUMED_BYTES
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return _ASSUMED_BYTES


def _resource_limits() -> Iterator[int]:
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none for Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft


def oom_kills(root: Path = Path("/")) -> int:
    """How many processes of the process's control group, and of those in it, the kernel has killed for lack of memory
    since there is the group; 0 if that cannot be found out. `root`: as above.
    """
    for _, files in _control_groups(root):
        for name in ("memory.events", "memory.oom_control"):
            try:
                lines = (files / name).read_text().splitlines()
            except OSError:
                continue
            counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
            return int(counts[0]) if counts else 0
    return 0


def _control_group_limits(root: Path) -> Iterator[int]:
    """The limits of the process's control groups, and of those that they are part of."""
    for limit, files in _control_groups(root):
        yield from _limit(files / limit)


def _control_groups(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield, for each of them, the name of the file that has its limit of memory, and where its files are. The
    process's own ones come before those that they are part of.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            mounted, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mounted, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container, the path may be that of the host; what is mounted is then the process's own group.
        group = Path(path.lstrip("/"))
        for each in (group, *group.parents):
            yield name, mounted / each


def _limit(file: Path) -> Iterator[int]:
    """The limit in the file, if there is one. Version 1 says that there is none by a number that no machine reaches,
    version 2 by a word.
    """
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdigit():
        yield int(text)
