"""Configuration text to `ModelConfig`: protobuf text format from files, JSON from the load API."""

import difflib
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson
from google.protobuf import json_format, text_format
from google.protobuf.descriptor import Descriptor

from kserve_v2._generated import model_config_pb2
from kserve_v2._generated._pool import POOL
from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.places import find_places
from kserve_v2.config.problems import ConfigError
from kserve_v2.config.quotes import Unclosed, unclosed_quotes
from kserve_v2.config.skip import blank, blank_field
from kserve_v2.config.text_files import read_text
from kserve_v2.errors import InvalidArgumentError

log = logging.getLogger("kserve_v2.config")

_UNKNOWN_FIELD = re.compile(r'Message type "(?P<message>[\w.]+)" has no field named "(?P<field>[^"]*)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "(?P<enum>[\w.]+)" has no value named (?P<value>.+)\.$')
_UNKNOWN_JSON_VALUE = re.compile(r"Invalid enum value (?P<value>\S+) for enum type (?P<enum>[\w.]+)")
_SECOND_CHOICE = re.compile(r'should not have multiple "(?P<oneof>\w+)" oneof fields')
# What text_format puts before its messages.
_POSITION = re.compile(r"^\d+:\d+ : ")
# A name this alike to a known one is taken for a slip of the pen.
_ALIKE = 0.75
# A text is parsed again for each mistake, but for the unknown fields: so many characters in all, and so many times.
_MOST_CHARACTERS = 2**21
_LEAST_TRIES = 10
# Behind all that has a line.
_NOWHERE = (2**63, 0)


def read_config(path: Path, source: str) -> ModelConfig:
    """Read a configuration file; otherwise as `parse_config`. Comments in it may be in any encoding.

    Raises ConfigError also for a file that cannot be read; the message names `source`, never the path.
    """
    try:
        text = read_text(path, source, comments=True)
    except InvalidArgumentError as error:
        raise ConfigError(error.message) from None
    return parse_config(text, source)


def parse_config(text: str, source: str) -> ModelConfig:
    """Read a configuration in protobuf text format.

    A field that is unknown but looks like a known one, or stands inside a map, is an error; any other unknown field may
    belong to a newer schema, and is skipped with a warning. `source` names the file in messages.

    Raises ConfigError with `source:line:column: message` lines: unknown fields and values that none can have all at
    once; where brackets or strings are not closed, nothing behind that.
    """
    mistakes: list[_Mistake] = []
    left = text
    quotes: list[Unclosed] | None = None
    for _ in range(max(_LEAST_TRIES, _MOST_CHARACTERS // (len(text) + 1))):
        config = ModelConfig()
        try:
            text_format.Parse(left, config, descriptor_pool=POOL)
        except text_format.ParseError as error:
            quotes = unclosed_quotes(text) if quotes is None else quotes
            end = min((each.suspect for each in quotes), default=_NOWHERE)
            without = _without_mistake(error, text, left, source, mistakes, end)
            if without is None:
                break
            left = without
        else:
            if not (mistakes or quotes):
                return config
            break
    else:
        mistakes.append(_Mistake(_NOWHERE, f"{source}: there may be more mistakes than these"))
    mistakes += [
        _Mistake(quote.place, f"{source}:{quote.place[0]}:{quote.place[1]}: {quote.why}")
        for quote in quotes or ()
    ]
    texts = [mistake.text for mistake in sorted(mistakes, key=lambda each: each.place)]
    raise ConfigError("\n".join(texts), texts)


@dataclass(frozen=True, slots=True)
class _Mistake:
    """`place`: line and column."""

    place: tuple[int, int]
    text: str


def _without_mistake(
    error: text_format.ParseError,
    whole: str,
    text: str,
    source: str,
    mistakes: list[_Mistake],
    end: tuple[int, int],
) -> str | None:
    """Note one mistake, and return the text with spaces in the place of the field; None where nothing can be told of
    what comes behind it. `whole`: the text as it was. `end`: the place from which on nothing can be told.
    """
    unknown = _UNKNOWN_FIELD.search(str(error))
    line, column = error.GetLine(), error.GetColumn()
    if line is not None and column is not None and (line, column) >= end:
        return None
    if unknown is not None and line is not None and column is not None:
        if left := _without_unknown_fields(text, (line, column), source, mistakes, end):
            return left
        _note_unknown_field(unknown["message"], unknown["field"], (line, column), source, mistakes)
        return blank_field(text, line, column)
    described = _describe(error, source)
    if line is None or column is None:
        mistakes.append(_Mistake(_NOWHERE, described))
        return None
    # The parser quotes the line, from which other mistakes may be gone.
    quoted, written = text.split("\n")[line - 1], whole.split("\n")[line - 1]
    described = described.replace(f"'{quoted}'", f"'{written}'")
    mistakes.append(_Mistake((line, column), described + _hint(error, text)))
    places = find_places(text)
    field = places.around(line, column)
    if field is None or not places.balanced:
        return None
    left = blank(text, (field.start, field.end))
    return left if left != text else None


def _without_unknown_fields(
    text: str, first: tuple[int, int], source: str, mistakes: list[_Mistake], end: tuple[int, int]
) -> str | None:
    """Note the unknown fields from the first one, at that line and column, up to the next other mistake or the `end`,
    and return the text with spaces in their places: the parser, which ends at each of them, reads it twice for all.
    None where they are not seen as the parser sees them.
    """
    places = find_places(text)
    place = {}
    for field in places.unknown:
        start = places.place(field.start)
        place[field] = (start.line, start.column)
    fields = [field for field in places.unknown if first <= place[field] < end]
    if not places.balanced or not fields or place[fields[0]] != first:
        return None
    try:
        text_format.Parse(
            blank(text, *((field.start, field.end) for field in fields)), ModelConfig(), descriptor_pool=POOL
        )
    except text_format.ParseError as error:
        # What is behind that may be no field at all.
        mistake = (error.GetLine() or 0, error.GetColumn() or 0)
        fields = [field for field in fields if place[field] < mistake]
    for field in fields:
        _note_unknown_field(field.message, field.name, place[field], source, mistakes)
    return blank(text, *((field.start, field.end) for field in fields)) if fields else None


def parse_config_json(text: str, source: str = "config override") -> ModelConfig:
    """Read the JSON of the load API's `config` parameter.

    Field names may be snake_case or camelCase, 64-bit integers numbers or strings, enums names or numbers.

    Raises ConfigError for text that is not a JSON object, and for unknown fields: an override is written for
    this server, so nothing in it is skipped.
    """
    config = ModelConfig()
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{source}: not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"{source}: expected a JSON object with the fields of ModelConfig")
    try:
        json_format.ParseDict(fields, config, descriptor_pool=POOL)
    except json_format.ParseError as error:
        raise ConfigError(f"{source}: {_describe_json(str(error))}") from None
    return config


def _note_unknown_field(
    full_name: str, field: str, place: tuple[int, int], source: str, mistakes: list[_Mistake]
) -> None:
    """Sort one unknown field of a message: a likely mistake goes to `mistakes`, another one to the log."""
    message, where = full_name.removeprefix("inference."), f"{source}:{place[0]}:{place[1]}"
    guess = _similar_field(full_name, field)
    entry = _entry_form(_descriptor(full_name), field)
    if not field.isidentifier():
        text = f"{where}: expected the name of a field, got '{field}'"
    elif guess:
        text = f"{where}: unknown field '{field}' in {message}; did you mean '{guess}'?"
    elif entry:
        text = f"{where}: unknown field '{field}' in an entry of a map; an entry is written: {entry}"
    elif full_name in _VALUES_OF_MAPS:
        # Skipped, it would leave an entry that says something else.
        text = f"{where}: unknown field '{field}' in {message}, which is the value of a map"
    else:
        log.warning("%s: unknown field '%s' in %s is ignored", where, field, message)
        return
    mistakes.append(_Mistake(place, text))


def _descriptor(message: str) -> Descriptor:
    found: Descriptor = model_config_pb2.DESCRIPTOR.pool.FindMessageTypeByName(message)
    return found


def _entry_form(entry: Descriptor, key: str) -> str | None:
    """How an entry with `key` is written if `entry` is the type of a map's entries."""
    if not entry.GetOptions().map_entry:
        return None
    [field] = [field for field in entry.containing_type.fields if field.message_type is entry]
    value = entry.fields_by_name["value"].message_type
    inner = "..." if value is None else f"{{ {value.fields[0].name}: ... }}"
    return f'{field.name} {{ key: "{key}" value: {inner} }}'


def _values_of_maps(messages: Iterable[Descriptor]) -> Iterator[str]:
    """Names of the message types that are values of some map."""
    for message in messages:
        value = message.fields_by_name["value"].message_type if message.GetOptions().map_entry else None
        if value is not None:
            yield value.full_name
        yield from _values_of_maps(message.nested_types)


_VALUES_OF_MAPS = frozenset(_values_of_maps(model_config_pb2.DESCRIPTOR.message_types_by_name.values()))


@lru_cache(1024)
def _similar_field(message: str, field: str) -> str | None:
    """Return the field of `message` that `field` was probably meant to be."""
    names = [known.name for known in _descriptor(message).fields]
    alike = difflib.get_close_matches(field, names, n=1, cutoff=_ALIKE)
    return alike[0] if alike else None


def _describe(error: text_format.ParseError, source: str) -> str:
    message = _POSITION.sub("", str(error)).replace("inference.", "")
    if error.GetLine() is None:
        return f"{source}: {message}"
    return f"{source}:{error.GetLine()}:{error.GetColumn()}: {message}"


def _hint(error: text_format.ParseError, text: str) -> str:
    """What was probably meant, for the slips that people make most; empty for all others."""
    unknown = _UNKNOWN_VALUE.search(str(error))
    if unknown is not None:
        value = _similar_value(unknown["enum"], unknown["value"].strip("\"'"))
        plain = ", without quotation marks" if unknown["value"][0] in "\"'" else ""
        return f" Did you mean {value}{plain}?" if value else ""
    if text.lstrip().startswith("{"):
        return " This looks like JSON: write protobuf text format, as in max_batch_size: 8, without braces around it."
    line, column = error.GetLine(), error.GetColumn()
    if line is not None and re.match(r"\s*(?://|/\*|--|;)", text.split("\n")[line - 1 :][0]):
        return " A comment begins with #."
    # The parser splits lines at "\n" only.
    if (
        line is not None
        and column is not None
        and not "\n".join(text.split("\n")[line - 1 :])[column - 1 :].strip()
    ):
        unclosed = find_places(text).unclosed
        if unclosed is not None:
            return f" The text ends here, and the bracket at {unclosed.line}:{unclosed.column} is not closed."
        return " The text ends here: is a closing bracket or a value missing?"
    return ""


def _similar_value(enum: str, value: str) -> str | None:
    """Return the value of `enum` that `value` was probably meant to be, as TYPE_FP32 by FP32 or float32."""
    names = list(model_config_pb2.DESCRIPTOR.pool.FindEnumTypeByName(enum).values_by_name)
    wanted = re.sub(r"^FLOAT(?=\d)", "FP", value.upper())
    exact = next((name for name in names if name == wanted or name.endswith(f"_{wanted}")), None)
    return exact or next(iter(difflib.get_close_matches(wanted, names, n=1, cutoff=_ALIKE)), None)


def _describe_json(message: str) -> str:
    chosen = _SECOND_CHOICE.search(message)
    if chosen is not None:
        return f"'{chosen['oneof']}' is already set: only one of its fields can be given"
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown is None:
        value = _UNKNOWN_JSON_VALUE.search(message)
        meant = _similar_value(value["enum"], value["value"]) if value else None
        hint = f"; did you mean {meant}?" if meant else ""
        return message.splitlines()[0].replace("inference.", "").rstrip(".") + hint
    guess = _similar_field(unknown["message"], unknown["field"])
    hint = f"; did you mean '{guess}'?" if guess else ""
    return f"unknown field '{unknown['field']}' in {unknown['message'].removeprefix('inference.')}{hint}"
