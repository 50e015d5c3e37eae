"""Paths of Unix sockets: one server at a time, however the one before has ended."""

import os
import socket
import threading
from pathlib import Path

import pytest

from kserve_v2.net.listening import reachable, take_place
from kserve_v2.net.unix_socket import MAX_PATH_BYTES, UnixPath, unix_path


def leave_stale(path: Path) -> None:
    """What a server that was killed leaves behind."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("unix:/run/a.sock", "/run/a.sock"),
        ("unix:a.sock", "a.sock"),
        ("unix:///run/a.sock", "/run/a.sock"),
        ("127.0.0.1", None),
        ("::1", None),
        ("unix", None),
    ],
)
def test_addresses(address: str, path: str | None) -> None:
    assert unix_path(address) == path
    assert reachable(address, 7) == (
        f"unix:{path}" if path else {"::1": "[::1]:7"}.get(address, f"{address}:7")
    )


def test_nothing_is_left(tmp_path: Path) -> None:
    place = take_place(f"unix:{tmp_path}/a.sock", 8000)
    assert place.port == 0
    assert (tmp_path / "a.sock").is_socket()
    place.close()
    place.close()
    assert list(tmp_path.iterdir()) == []


def test_one_at_a_time_even_before_it_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    first = UnixPath(path)
    bound = first.bind()
    with pytest.raises(
        OSError, match=r"^cannot listen on unix:.*a\.sock: Address already in use: another server has it$"
    ):
        UnixPath(path)
    bound.close()
    first.release()
    second = UnixPath(path)
    second.bind().close()
    second.release()


def test_the_socket_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    leave_stale(tmp_path / "a.sock")
    (tmp_path / "a.sock.lock").touch()
    place = take_place(f"unix:{tmp_path}/a.sock", 0)
    place.socket.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "a.sock"))
    place.close()
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(OSError, match="Address already in use: a program listens there"):
            UnixPath(str(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["a.sock"]


def test_what_somebody_else_has_put_there_since_is_left_alone(tmp_path: Path) -> None:
    place = take_place(f"unix:{tmp_path}/a.sock", 0)
    (tmp_path / "a.sock").rename(tmp_path / "before")
    (tmp_path / "a.sock").write_text("mine")
    place.close()
    assert (tmp_path / "a.sock").read_text() == "mine"


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "a.sock").write_text("precious")
    with pytest.raises(OSError, match="there is a file of that name, and it is no socket"):
        UnixPath(str(tmp_path / "a.sock"))
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.sock", "precious")]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("x" * (MAX_PATH_BYTES + 1), f"the path has {MAX_PATH_BYTES + 1} bytes, and the system takes {MAX_PATH_BYTES} at most"),
        ("ü" * (MAX_PATH_BYTES // 2 + 1), f"the path has {MAX_PATH_BYTES // 2 * 2 + 2} bytes"),
        ("nosuch/a.sock", "there is no directory 'nosuch'"),
        (".", "it is a directory, expected the path of a socket"),
    ],
)  # fmt: skip
def test_paths_that_cannot_be(path: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=text):
        UnixPath(path)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken = UnixPath("x" * MAX_PATH_BYTES)
    taken.bind().close()
    taken.release()
    assert list(tmp_path.iterdir()) == []


def test_the_umask_says_who_may_connect(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        place = take_place(f"unix:{tmp_path}/a.sock", 0)
    finally:
        os.umask(before)
    assert (tmp_path / "a.sock").stat().st_mode & 0o777 == 0o700
    place.close()


@pytest.mark.slow
def test_never_two_however_they_race(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    holders: list[int] = []
    most: list[int] = []

    def come_and_go() -> None:
        for _ in range(100):
            try:
                taken = UnixPath(path)
            except OSError as error:
                assert "in use" in str(error)
                continue
            holders.append(1)
            most.append(len(holders))
            taken.bind().close()
            holders.pop()
            taken.release()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert list(tmp_path.iterdir()) == []
