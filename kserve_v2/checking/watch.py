"""Which model is being looked at, for whoever sees that the process has ended meanwhile: a model's code may do that."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Watch:
    """What one process tells another one that watches it. `ended`: models that an earlier one has not survived, and
    how it has ended. `file`: where it tells; None where nobody watches.
    """

    def __init__(self, file: Path | None = None, ended: Mapping[str, str] | None = None) -> None:
        self.ended = ended or {}
        self._file = file
        self._under_way: list[str] = []

    @contextmanager
    def looking(self, name: str) -> Iterator[None]:
        """A model is looked at; others may be, meanwhile."""
        self._under_way.append(name)
        self._tell(name)
        try:
            yield
        finally:
            self._under_way.pop()
            self._tell(self._under_way[-1] if self._under_way else "")

    def _tell(self, name: str) -> None:
        if self._file is not None:
            self._file.write_bytes(name.encode("utf-8", "surrogateescape"))


def looked_at(file: Path) -> str:
    """The model that a process was looking at when it ended; "" for none."""
    try:
        return file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return ""
