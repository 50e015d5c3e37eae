"""What is read although others have put it there."""

import os
import socket
from pathlib import Path

import pytest

from kserve_v2.regular_files import read_regular


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"12345"
    assert read_regular(tmp_path / "file", 3) == b"123"


def test_nothing_else_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path must be short
        try:
            made.bind("socket")
        finally:
            os.chdir(here)
    for name, kind in {
        "pipe": "a pipe", "link": "a pipe", "folder": "a directory", "null": "a device", "socket": "a socket"
    }.items():  # fmt: skip
        with pytest.raises(OSError, match=f"it is {kind}, and no regular file"):
            read_regular(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
