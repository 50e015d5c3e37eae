"""Which file systems number files for good."""

import os
from pathlib import Path

import pytest

from kserve_v2.repository.reading.inodes import inodes_stay

# As `man 5 proc_pid_mountinfo` shows it, and others.
MOUNTS = """\
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
40 35 0:53 / /models rw shared:1 master:2 - fuse.gcsfuse models rw
41 35 0:54 / /nfs rw - nfs4 server:/models rw
42 35 300:70000 / /data\\040- rw - xfs /dev/x rw
"""


@pytest.mark.parametrize(
    ("device", "stay"),
    [((98, 0), True), ((0, 53), False), ((0, 54), True), ((300, 70000), True), ((0, 99), False)],
)
def test_by_the_kind_of_file_system(device: tuple[int, int], stay: bool, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert inodes_stay(os.makedev(*device), mounts, "linux") is stay


def test_where_nothing_is_told(tmp_path: Path) -> None:
    assert not inodes_stay(1, tmp_path / "none", "linux")
    assert inodes_stay(1, tmp_path / "none", "darwin")
