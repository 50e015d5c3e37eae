"""Compare."""

from pathlib import Path


class CompareError(ValueError):
    pass


def compare(reports: list[Path], output: Path | None) -> str:
    return ""
