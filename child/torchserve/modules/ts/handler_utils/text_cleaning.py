"""What is taken out of a text before its words are looked up; with the standard library alone."""

from __future__ import annotations

import re
import string
import unicodedata

from ts.torch_handler.contractions import CONTRACTION_MAP

# Tags, and entities such as `&amp;`.
_MARKUP = re.compile(r"<.*?>|&([a-z0-9]+|#[0-9]{1,6}|#x[0-9a-f]{1,6});")
_SHORT = re.compile("(" + "|".join(map(re.escape, CONTRACTION_MAP)) + ")", re.IGNORECASE | re.DOTALL)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def expand_contractions(text: str) -> str:
    """`don't` as `do not`; apostrophes that are left go."""

    def expand(found: re.Match[str]) -> str:
        short = found.group(0)
        # The first letter stays as it is: of `ain't` that makes `as not`, and so it is there.
        return short[0] + CONTRACTION_MAP[short.lower()][1:]

    return _SHORT.sub(expand, text).replace("'", "")


def remove_accented_characters(text: str) -> str:
    """Letters without accents; what has no form in ASCII goes."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii", "ignore")


def remove_punctuation(text: str) -> str:
    """Without punctuation."""
    return text.translate(_PUNCTUATION)


def remove_html_tags(text: str) -> str:
    """Without tags and entities."""
    return _MARKUP.sub("", text)
