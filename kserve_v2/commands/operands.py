"""What stands on a command line without a flag: repositories, and single models."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from kserve_v2.commands.command import UsageError

_NAME = re.compile(r"[\w-]+")


def take_operands(namespace: argparse.Namespace) -> None:
    """Let all of them be values of --model-repository and --model, whichever each is. Raises UsageError."""
    texts, namespace.operands = namespace.operands, []
    if texts:
        _take(namespace, texts)


def take_repository(namespace: argparse.Namespace) -> None:
    """The same, for commands in which names of models may stand behind a repository: those are left. So are all, if
    options say what is to be looked at. Raises UsageError.
    """
    if "model_repository" in namespace or "model" in namespace or not namespace.operands:
        return
    first, *others = namespace.operands
    # Whatever a folder is that is no model: it is a repository in which something is to be found wrong.
    if _is_repository(first, otherwise=Path(first).is_dir()):
        _set(namespace, [namespace.operands.pop(0)], [])
        return
    try:
        take_operands(namespace)
    except UsageError as error:
        name = next((each for each in others if _is_only_a_name(each)), "")
        if name and not _is_repository(first, otherwise=True):
            raise UsageError(
                f"{name} does not exist, and behind {first}, which is one model, it names none: names of models stand "
                "behind a repository, or an archive .zip or .tar.gz"
            ) from error
        raise


def _is_only_a_name(text: str) -> bool:
    """Whether it looks like a model's name, and like nothing that can be served."""
    return _NAME.fullmatch(text) is not None and not Path(text).exists()


def _is_repository(text: str, *, otherwise: bool) -> bool:
    from kserve_v2.errors import InvalidArgumentError  # noqa: PLC0415 - as below
    from kserve_v2.repository.locations.operands import Kind, read_operand  # noqa: PLC0415 - not for --help

    try:
        return read_operand(text).kind is Kind.REPOSITORY
    except InvalidArgumentError:
        return otherwise


def _take(namespace: argparse.Namespace, texts: Sequence[str]) -> None:
    from kserve_v2.errors import InvalidArgumentError  # noqa: PLC0415 - as below
    from kserve_v2.repository.locations.operands import Kind, read_operands  # noqa: PLC0415 - not for --help

    try:
        operands = read_operands(texts)
    except InvalidArgumentError as error:
        raise UsageError(error.message) from None
    kinds = list(zip(texts, (operand.kind is Kind.REPOSITORY for operand in operands), strict=True))
    _set(
        namespace,
        [text for text, is_repository in kinds if is_repository],
        [text for text, is_repository in kinds if not is_repository],
    )


def _set(namespace: argparse.Namespace, repositories: list[str], models: list[str]) -> None:
    """Beside what flags say. What is written outweighs the environment, also where it is none of a kind."""
    namespace.model_repository = [*getattr(namespace, "model_repository", []), *repositories]
    namespace.model = [*getattr(namespace, "model", []), *models]
