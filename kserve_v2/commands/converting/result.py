"""What comes of an archive: the files of a model's folder, and what a person has to know and to decide."""

from dataclasses import dataclass, field
from pathlib import Path

REPORT = "CONVERTED.md"


@dataclass
class Result:
    """`kind`: what it is now, in one line. `config`: the text of config.pbtxt. `files`: what lies in the folder of the
    version, by path there, and where it comes from. `tensors`: what goes in and out. `differences`: what is not as it
    was. `decisions`: what somebody has to decide; each begins with what it is about.
    """

    kind: str
    config: str = ""
    files: dict[str, Path | str] = field(default_factory=dict)
    tensors: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)


def report_text(name: str, source: str, result: Result) -> str:
    """The report, in Markdown."""
    parts = [f"# {name}, converted from {source}", result.kind]
    if result.tensors:
        parts += ["## Tensors", _listed(result.tensors)]
    if result.differences:
        parts += ["## What is not as it was", _listed(result.differences)]
    parts.append("## To be decided")
    parts.append(_listed(result.decisions, numbered=True) if result.decisions else "Nothing.")
    return "\n\n".join(parts) + "\n"


def _listed(lines: list[str], *, numbered: bool = False) -> str:
    return "\n".join(f"{f'{number}.' if numbered else '-'} {line}" for number, line in enumerate(lines, 1))
