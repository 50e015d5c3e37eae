"""What the pages of docs/reference say, each a function of the code alone."""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kserve_v2 import errors
from kserve_v2.backend import ModelConfig
from kserve_v2.commands.command import Command
from kserve_v2.commands.registry import COMMANDS
from kserve_v2.config.support import FIELDS, OWN_PARAMETERS, READ_PARAMETERS, Rule, Support
from kserve_v2.settings.settings import OPTIONS
from kserve_v2.settings.triton_options import IGNORED_OPTIONS, REFUSED_OPTIONS
from tools.reference.field_texts import PARAMETERS, TEXTS
from tools.reference.metrics import metric_families

_COUNTS = re.compile(r"\d+ models? checked: ")
_SUPPORT = {Support.SERVED: "yes", Support.REFUSED: "refused", Support.IGNORED: "no effect, with a warning"}


def options() -> str:
    """The options of `kserve-v2 serve`."""
    lines = [
        "# Options of the server",
        "",
        "Every option of `kserve-v2 serve`. A flag outweighs its environment variable, which outweighs "
        "the default. What may be repeated takes "
        "several values in its variable, separated by commas.",
    ]
    for group, members in groupby(OPTIONS, key=lambda option: option.group):
        lines += ["", f"## {group}"]
        for option in members:
            default = option.kind.show(option.default)
            also = "".join(f", `{alias}`" for alias in option.aliases)
            value = f" {option.kind.metavar}" if option.kind.metavar else ""
            lines += [
                "",
                f"### {option.flag}",
                "",
                f"`{option.flag}{value}`{also} · `{option.variable}`"
                + (f" · default `{default}`" if default else ""),
                "",
                _prose(option.help),
            ]
    lines += [
        "",
        "## Options of Triton's that are accepted",
        "",
        "They are ignored, with a warning that says why.",
        "",
        *_table(("option", "why"), ((f"`--{name}`", _prose(why)) for name, why in IGNORED_OPTIONS.items())),
        "",
        "## Options of Triton's that end the start",
        "",
        "They promise protection, or would change answers.",
        "",
        *_table(("option", "why"), ((f"`--{name}`", _prose(why)) for name, why in REFUSED_OPTIONS.items())),
    ]
    return _page(lines)


def commands() -> str:
    """The commands, with their own options and examples."""
    lines = ["# Commands", "", "`kserve-v2 COMMAND --help` says the same."]
    for command in COMMANDS:
        lines += [
            "",
            f"## kserve-v2 {command.name}",
            "",
            "```",
            f"kserve-v2 {command.name} {command.usage}",
            "```",
        ]
        lines += ["", _prose(command.description)]
        if own := list(_own_options(command)):
            lines += ["", *_table(("option", "what it does"), own)]
        if command.examples:
            lines += ["", "```text", command.examples.strip(), "```"]
    return _page(lines)


def _own_options(command: Command) -> Iterator[tuple[str, str]]:
    parser = argparse.ArgumentParser(add_help=False)
    command.add(parser)
    of_serve = {option.flag for option in OPTIONS}
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or of_serve & set(action.option_strings):
            continue
        value = f" {action.metavar}" if action.metavar else ""
        names = ", ".join(f"`{flag}{value}`" for flag in action.option_strings) or f"`{action.metavar}`"
        text = (action.help or "") % {"default": action.default} if action.help else ""
        if action.choices:
            text += f" One of {', '.join(f'`{choice}`' for choice in action.choices)}."
        yield names, _prose(text)


def configuration() -> str:
    """The fields of config.pbtxt."""
    rows = []
    for name, rule in FIELDS.items():
        rows.append((f"`{name}`", _type(name), TEXTS[name], _served(rule)))
    own = [(f"`{name}`", PARAMETERS[name]) for name in sorted(OWN_PARAMETERS, key=str.lower)]
    read = [(f"`{name}`", backend) for backend, names in READ_PARAMETERS.items() for name in sorted(names)]
    return _page(
        [
            "# Fields of config.pbtxt",
            "",
            "The schema is Triton's. `kserve-v2 check` says what is wrong with a configuration, and "
            "where; `kserve-v2 config` prints the "
            "configuration that a model is served with, and where each field comes from. A field that "
            "is refused keeps the model from being loaded; the "
            "error says why.",
            "",
            *_table(("field", "type", "what it does", "served"), rows),
            "",
            "## Parameters of the server's own",
            "",
            'As `parameters { key: "NAME" value { string_value: "VALUE" } }`.',
            "",
            *_table(("parameter", "what it does"), own),
            "",
            "## Parameters that the backends read",
            "",
            "Names and values are Triton's where Triton has them; see [Bringing "
            "models](../guides/models.md). Handlers get all parameters.",
            "",
            *_table(("parameter", "backend"), read),
        ]
    )


def _served(rule: Rule) -> str:
    text = _SUPPORT[rule.support]
    if rule.only:
        text = f"{', '.join(sorted(rule.only))} only"
    return f"{text}: {rule.why}" if rule.why else text


def _type(path: str) -> str:
    """The type of a field, as the schema has it."""
    message: Descriptor = ModelConfig.DESCRIPTOR
    described = ""
    for name in path.split("."):
        field: FieldDescriptor = message.fields_by_name[name]
        inner = field.message_type
        is_map = inner is not None and inner.GetOptions().map_entry
        if is_map:
            inner = inner.fields_by_name["value"].message_type
        kind = (
            "message"
            if inner is not None
            else field.enum_type.name
            if field.enum_type is not None
            else _scalar(field)
        )
        described = f"map of {kind}" if is_map else f"list of {kind}" if field.is_repeated else kind
        message = inner
    return described


def _scalar(field: FieldDescriptor) -> str:
    names = {
        value: name.removeprefix("TYPE_").lower()
        for name, value in vars(FieldDescriptor).items()
        if name.startswith("TYPE_") and isinstance(value, int)
    }
    return names[field.type]


def metrics() -> str:
    """The metrics of the metrics port."""
    rows = [(f"`{family.name}`", family.kind, family.help) for family in metric_families()]
    return _page(
        [
            "# Metrics",
            "",
            "`GET /metrics` of the metrics port (8002), in Prometheus' text format. Names that begin "
            "with `nv_` are Triton's, and mean what they mean "
            "there. Most carry the labels `model` and `version`, and the model's `metric_tags`. "
            "Handlers can make metrics of their own.",
            "",
            *_table(("metric", "kind", "what it counts"), rows),
        ]
    )


def error_codes() -> str:
    """The kinds of errors, with their status on both protocols."""
    rows = []
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.ServingError) and kind.__module__ == errors.__name__:
            status = kind.code.value
            about = _prose((inspect.getdoc(kind) or "").split("\n\n")[0])
            rows.append((f"`{kind.__name__}`", str(status.http), f"{status.grpc}", about))
    rows.sort(key=lambda row: (int(row[1]), row[0]))
    return _page(
        [
            "# Errors",
            "",
            'Over REST an error is a status and `{"error": "…"}`; over gRPC a status with the same '
            "text. A text names the tensor, the field or the file, "
            "what was expected and what was found. Handlers raise these, as "
            "`kserve_v2.InvalidArgumentError` and so on: the request that is wrong gets the "
            "status, others do not.",
            "",
            *_table(("error", "HTTP", "gRPC", "when"), rows),
        ]
    )


def findings() -> str:
    """What a check says of a mistake, as its golden tests have it."""
    golden = Path(__file__).resolve().parents[2] / "tests" / "checking" / "findings.txt"
    lines = [
        "# What a check says",
        "",
        "Mistakes and the texts that `kserve-v2 check` has for them: the same are in the server's log, in the "
        "repository index, and in the answer to a load. The model is called `m`. Search for what you have been told.",
    ]
    for section in golden.read_text(encoding="utf-8").split("### ")[1:]:
        name, _, text = section.partition("\n")
        said = [line for line in text.strip().splitlines() if not _COUNTS.match(line)]
        if said:
            lines += ["", f"**{name}**", "", "```text", *said, "```"]
    return _page(lines)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    body = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *body]


def _prose(text: str) -> str:
    """A text of the code as Markdown: placeholders are not taken for HTML."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(re.sub(r"<(\w+)>", r"`<\1>`", paragraph) for paragraph in paragraphs)


def _page(lines: list[str]) -> str:
    return "<!-- Made by tools/generate_reference.py. -->\n" + "\n".join(lines) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "options": options,
    "commands": commands,
    "configuration": configuration,
    "metrics": metrics,
    "errors": error_codes,
    "findings": findings,
}
