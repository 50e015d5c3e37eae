"""What stands on the console once the server answers: models, what is wrong with some, options, URLs, a line to paste.

Text only: what it can show is the terminal's, and who prints it is `logs.console`.
"""

import re
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from kserve_v2.logs.console import printable
from kserve_v2.logs.table import table
from kserve_v2.logs.terminal import PLAIN, Style, Terminal
from kserve_v2.messages import IndexEntry
from kserve_v2.settings.settings import OPTIONS, Settings

# What to do stands at the end of a reason.
_MAX_REASON_LINES = 8
_REASON_HINT = "… (the repository index has the whole reason)"
# A line of prose is not longer, however wide the terminal is.
_PROSE_WIDTH = 110
# Of more models than that, those behind them are only counted.
_MAX_FAILURES = 20

_OTHERS_ARE_SERVED = (
    "The other models are served; until these are, the server says that it is not ready (unless --strict-readiness "
    "is false). --exit-on-error ends the start instead."
)
_NONE_IS_SERVED = (
    "No model is served. Ctrl-C ends the server; with --reload it would load a model again once its file is mended. "
    "--exit-on-error ends the start instead."
)

# What the protocols put in front of a reason, for programs.
_CODE = re.compile(r"[A-Z][a-z]+( [a-z]+)*: ")

_STATES = {
    "READY": Style.GOOD,
    "UNAVAILABLE": Style.BAD,
    "LOADING": Style.CHANGING,
    "UNLOADING": Style.CHANGING,
}


def models_table(entries: Sequence[IndexEntry], terminal: Terminal = PLAIN) -> str:
    """Every model with version and state, how long it took to load, and notes where there are any."""
    header = ["Model", "Version", "State"]
    columns = [
        [printable(entry.name) for entry in entries],
        [entry.version or "-" for entry in entries],
        [entry.state or "-" for entry in entries],
    ]
    if any(entry.loaded_in_s is not None for entry in entries):
        header.append("Loaded in")
        columns.append([_seconds(entry.loaded_in_s) for entry in entries])
    if any(entry.note for entry in entries):
        header.append("Notes")
        columns.append([entry.note for entry in entries])
    # Notes give way first, then the name.
    shrinking = (header.index("Notes"), 0) if "Notes" in header else (0,)
    return table(header, [*zip(*columns, strict=True)], terminal, shrinking=shrinking, styles=_STATES)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def failures(entries: Sequence[IndexEntry], settings: Settings, terminal: Terminal = PLAIN) -> str:
    """What is wrong with the models that are not there, and what to do; "" if there are none."""
    failed = [entry for entry in entries if entry.state == "UNAVAILABLE"]
    if not failed:
        return ""
    lines = [terminal.paint("Not loaded:", Style.BAD)]
    for entry in failed[:_MAX_FAILURES]:
        version = f" version {entry.version}" if entry.version else ""
        lines.append(f"  {terminal.paint(printable(entry.name), Style.HEADING)}{version}")
        lines += [f"    {line}" for line in _reason(entry.reason, terminal)]
    if len(failed) > _MAX_FAILURES:
        lines.append(f"  and {len(failed) - _MAX_FAILURES} more: the repository index has their reasons")
    # Nothing else shows what came out when a model was executed.
    if to_check := [entry for entry in failed if not entry.began]:
        command = _check_command(to_check, settings)
        lines.append(_prose(f"To see all that is wrong, with file and line: {command}", terminal))
    if not settings.exit_on_error:
        advice = _OTHERS_ARE_SERVED if len(failed) < len(entries) else _NONE_IS_SERVED
        lines.append(_prose(advice, terminal))
    return "\n".join(lines)


def _reason(reason: str, terminal: Terminal) -> list[str]:
    text = printable(reason)
    if code := _CODE.match(text):
        text = text[code.end() :]
    width = terminal.width and min(terminal.width, _PROSE_WIDTH) - 4
    lines = text.splitlines()
    if width:
        lines = [part for line in lines for part in textwrap.wrap(line, width, break_on_hyphens=False)]
    if len(lines) > _MAX_REASON_LINES:
        lines = [*lines[: _MAX_REASON_LINES - 1], _REASON_HINT if terminal.symbols else _REASON_HINT[2:]]
    return lines


def _check_command(failed: Sequence[IndexEntry], settings: Settings) -> str:
    """As it can be pasted, where that is short and plain."""
    roots = settings.model_repository
    names = list(dict.fromkeys(entry.name for entry in failed))[:5]
    if not roots and settings.model and not (settings.input or settings.output):
        return f"kserve-v2 check {shlex.join(settings.model)}"
    if len(roots) != 1 or not isinstance(roots[0], Path) or settings.model_name or settings.namespaces:
        return "kserve-v2 check, with the options of this server"
    return f"kserve-v2 check {shlex.join([str(roots[0]), *names])}"


def _prose(text: str, terminal: Terminal) -> str:
    if terminal.width is None:
        return text
    width = min(terminal.width, _PROSE_WIDTH)
    # What is to be pasted stays whole.
    return "\n".join(
        line if "kserve-v2 " in line else textwrap.fill(line, width) for line in text.splitlines()
    )


def options_list(settings: Settings, terminal: Terminal = PLAIN) -> str:
    """The options that differ from their defaults; with verbose logs, all of them."""
    every = settings.log_verbose > 0
    rows = []
    for option in OPTIONS:
        value = getattr(settings, option.name)
        if every or value != option.default:
            default = option.kind.show(option.default)
            note = f"(default {default})" if default and value != option.default else ""
            rows.append((option.flag, option.kind.show(value), note))
    if not rows:
        return ""
    width = max(len(flag) for flag, _, _ in rows)
    heading = "Options:" if every else "Options that differ from the defaults (--log-verbose 1 shows all):"
    return "\n".join(
        [
            terminal.paint(heading, Style.HEADING),
            *(
                f"  {flag:<{width}}  {value} {terminal.paint(note, Style.QUIET)}".rstrip()
                for flag, value, note in rows
            ),
        ]
    )


def ready_report(
    entries: Sequence[IndexEntry],
    settings: Settings,
    urls: Mapping[str, str],
    example: str | None,
    terminal: Terminal = PLAIN,
    processes: Sequence[int] = (),
) -> str:
    """All of it. `urls`: by name; `example`: a request to paste; `processes`: the ids of those that answer, this one's
    first.
    """
    parts = [models_table(entries, terminal) if entries else _no_models(settings)]
    parts += [failures(entries, settings, terminal), options_list(settings, terminal)]
    if urls:
        lines = {name: terminal.paint(url, Style.LINK) for name, url in urls.items()}
        if len(processes) > 1:
            lines["Processes"] = f"{len(processes)}: {', '.join(map(str, processes))}"
        width = max(map(len, lines))
        parts.append("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))
    if example is not None:
        parts.append(f"{terminal.paint('Try it:', Style.HEADING)}\n{example}")
    return "\n\n".join(filter(None, parts))


def _no_models(settings: Settings) -> str:
    roots = settings.model_repository
    if settings.torchserve:
        return (
            "No archive is served. --models all loads all of the model store, --models FILE.mar one of them."
        )
    if len(roots) == 1 and isinstance(roots[0], Path) and roots[0].is_dir() and not settings.model_name:
        where = f"--model-repository {shlex.quote(str(roots[0]))}"
        return f"There are no models in the repository. To make one: kserve-v2 init NAME --template handler {where}"
    return "There are no models in the repository."
