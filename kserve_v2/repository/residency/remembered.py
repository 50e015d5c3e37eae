"""What versions have taken when they were loaded: so much room they are given the next time."""

from dataclasses import dataclass

from kserve_v2.repository.residency.measuring import MemoryUse, expected_use

# How many versions' uses are remembered.
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Remembered:
    """`files`: by their size then. `own`: whether the use was the version's alone, as far as that can be known."""

    use: MemoryUse
    files: MemoryUse
    own: bool


class RememberedUses:
    """By model and version."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, int], _Remembered] = {}

    def expected(self, version: tuple[str, int], files: MemoryUse) -> MemoryUse:
        """What a version is going to use whose files have this size now."""
        before = self._uses.get(version)
        return files if before is None else expected_use(before.use, before.files, files)

    def own(self, version: tuple[str, int], files: MemoryUse) -> MemoryUse | None:
        """What a version with these files has used, if that was found when nothing else was in it."""
        before = self._uses.get(version)
        return before.use if before is not None and before.own and before.files == files else None

    def keep(self, version: tuple[str, int], use: MemoryUse, files: MemoryUse, *, own: bool) -> None:
        """What a version uses. `own`: see `own`; what is better known stays."""
        if not own and self.own(version, files) is not None:
            return
        if len(self._uses) >= _MAX_REMEMBERED:
            self._uses.clear()
        self._uses[version] = _Remembered(use, files, own)
