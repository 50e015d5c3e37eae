"""What `kserve-v2 infer` does."""

import argparse
import json
import os.path
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kserve_v2.client import (
    Client,
    InferResult,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    SequenceStep,
    ServingError,
    UnsupportedError,
)
from kserve_v2.commands.asking.given import parameters_of, read_request, values_of
from kserve_v2.commands.asking.shown import as_json, save, show
from kserve_v2.commands.client_options import asking, time_of, without_unknown_id
from kserve_v2.commands.command import CommandError, UsageError
from kserve_v2.commands.output import say

_CLASSES = 5


def run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask, and print. Raises UsageError, CommandError."""
    model, *operands = namespace.operands or [""]
    if not model or "=" in model:
        raise UsageError("expected a model: kserve-v2 infer MODEL NAME=VALUE (see kserve-v2 infer --help)")
    if namespace.sequence is None and (namespace.sequence_start or namespace.sequence_end):
        raise UsageError("--sequence-start and --sequence-end go with --sequence")
    if namespace.stream and namespace.classes:
        raise UsageError("--classes and --stream: a stream has no classes, leave one of them out")
    request = read_request(namespace.request) if namespace.request else {}
    with asking(namespace, environ) as client:
        metadata = _metadata(client, model, namespace.model_version)
        datatypes = {each["name"]: each["datatype"] for each in metadata.get("inputs") or ()}
        inputs = {**request.get("inputs", {}), **values_of(operands, datatypes)}
        options: dict[str, Any] = {
            "version": namespace.model_version,
            "outputs": namespace.output or request.get("outputs"),
            "parameters": {**request.get("parameters", {}), **parameters_of(namespace.parameter)},
            "request_id": namespace.request_id or request.get("id", ""),
            "sequence": _sequence(namespace),
        }
        classes = _classes(namespace, client, model, request)
        count = 0
        with _telling_what_it_takes(metadata, inputs), _telling_of_files(operands):
            for result, ranked in _answers(namespace, client, model, inputs, options, classes):
                if namespace.save:
                    if count:
                        raise UsageError("--save is for one answer, and the model has given several")
                    save(result, namespace.save)
                if namespace.json:
                    say(as_json(result))
                else:
                    show(result, ranked, environ)
                count += 1
        if not count and not namespace.json:
            say("the model has ended without an answer")
    return 0


def _metadata(client: Client, model: str, version: str) -> dict[str, Any]:
    try:
        return client.metadata(model, version=version)
    except NotFoundError as error:
        # Without a reason it is perhaps no v2 server at all, as the message says.
        if "without a reason" in error.message:
            raise
        raise CommandError(f"{error.message}; kserve-v2 models lists those that are there") from None


@contextmanager
def _telling_what_it_takes(metadata: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[None]:
    """A server that refuses a request because inputs are missing does not say what they are. Whether they have to be
    there is for the server to say, since some may be left out. Raises CommandError.
    """
    announced = metadata.get("inputs") or ()
    try:
        yield
    except ServingError as error:
        if not announced and given and isinstance(error, InvalidArgumentError | InternalError):
            message = without_unknown_id(error.message).rstrip(".")
            raise CommandError(
                f"{message}; the model does not say what it takes, so numbers were sent as INT64 or FP64, and all else "
                "as text: --request FILE says other datatypes"
            ) from None
        if all(each["name"] in given for each in announced):
            raise
        takes = " ".join(
            f"{each['name']}:{each['datatype']}{json.dumps(each['shape'], separators=(',', ':'))}"
            for each in announced
        )
        message = without_unknown_id(error.message).rstrip(".")
        raise CommandError(f"{message}; the model takes {takes}: give NAME=VALUE for each") from None


@contextmanager
def _telling_of_files(operands: Sequence[str]) -> Iterator[None]:
    """A name of a file is a text like any other; if it is refused, it was perhaps not meant as one. Raises
    CommandError.
    """
    try:
        yield
    except InvalidArgumentError as error:
        for operand in operands:
            name, _, value = operand.partition("=")
            if os.path.isfile(value):  # noqa: PTH113 - true for no text, however long
                raise CommandError(f"{error.message}; {name}=@{value} sends the file") from None
        raise


def _sequence(namespace: argparse.Namespace) -> SequenceStep | None:
    text = namespace.sequence
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdecimal() else text
    return SequenceStep(number, namespace.sequence_start, namespace.sequence_end)


def _classes(
    namespace: argparse.Namespace, client: Client, model: str, request: Mapping[str, Any]
) -> dict[str, int]:
    """Of which outputs how many classes are wanted. `request`: what a file says, where the command line does not."""
    if namespace.stream or namespace.classes == 0:
        return {}
    wanted = namespace.output or request.get("outputs") or ()
    if namespace.classes is None and request.get("classes"):
        return {name: count for name, count in request["classes"].items() if name in wanted}
    if namespace.classes:
        outputs = client.metadata(model, version=namespace.model_version).get("outputs") or ()
        able = [each["name"] for each in outputs if each["datatype"] not in ("BYTES", "BOOL")]
        return dict.fromkeys([name for name in able if not wanted or name in wanted], namespace.classes)
    if namespace.json or namespace.save:
        return {}
    try:
        config = client.config(model, version=namespace.model_version)
        labelled = [each["name"] for each in config.get("output") or () if each.get("label_filename")]
    except ServingError:
        # Other servers have no configuration.
        labelled = []
    return {name: _CLASSES for name in labelled if not wanted or name in wanted}


def _answers(
    namespace: argparse.Namespace,
    client: Client,
    model: str,
    inputs: Mapping[str, Any],
    options: Mapping[str, Any],
    classes: Mapping[str, int],
) -> Iterator[tuple[InferResult, Mapping[str, int]]]:
    """The answers, and of which outputs they have classes."""
    if not namespace.stream:
        limit = {} if namespace.timeout is None else {"timeout": namespace.timeout}
        try:
            yield client.infer(model, inputs, classes=classes, **options, **limit), classes
        except UnsupportedError as error:
            # Of models that answer any number of times; it is said before anything is executed.
            if "decoupled" not in error.message:
                raise
            if namespace.classes:
                raise CommandError(
                    f"--classes: model '{model}' answers with a stream, which has no classes: leave --classes out"
                ) from None
        else:
            return
    with client.stream(model, inputs, timeout=time_of(namespace), **options) as results:
        for result in results:
            yield result, {}
