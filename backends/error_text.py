"""Texts of exceptions, made fit for clients, who must not learn where on the server things lie."""

import re

# The directories of an absolute path; those of a URL or a fraction are left alone.
_DIRECTORIES = re.compile(r"(?<![\w.:/])(?:/[^\s/'\":]+)+/")


def without_directories(text: str) -> str:
    """`text` with every absolute path cut to its last component."""
    return _DIRECTORIES.sub("", text)


def describe(error: BaseException) -> str:
    """Type and text of an exception."""
    text = error.msg if isinstance(error, SyntaxError) else without_directories(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
