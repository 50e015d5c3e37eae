"""Whether a file's inode number tells it from the one that it is replaced by: the two may be as old, to the nanosecond,
and as large, if whatever has put them there gives all files one time.
"""

import os
import sys
from functools import lru_cache
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")


@lru_cache(64)
def inodes_stay(device: int, mounts: Path = _MOUNTS, platform: str = sys.platform) -> bool:
    """Whether files of a file system keep their numbers for as long as they are there. Those of FUSE may get others
    each time when they are looked up; and of some there is nothing to be known. `device`: as `stat` tells it.
    """
    if not platform.startswith("linux"):
        return True
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        # id, parent, major:minor, root, mount point, options, any number of fields, a hyphen, type, source, options.
        fields, _, rest = line.partition(" - ")
        if fields.split(" ")[2:3] == [wanted]:
            return not rest.startswith("fuse")
    return False
