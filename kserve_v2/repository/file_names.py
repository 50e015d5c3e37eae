"""What names of files have in common, whoever has chosen them. Pure."""

import unicodedata

# Control characters, which break logs; and halves of characters, which stand for bytes that are not UTF-8 and cannot be
# sent.
_BAD_CATEGORIES = {"Cc", "Cs"}


def is_text(name: str) -> bool:
    """Whether a name can be logged and sent as it is."""
    return all(unicodedata.category(each) not in _BAD_CATEGORIES for each in name)


def folded(name: str) -> str:
    """The same text for all names that are one to a file system that ignores capitals and how accents are written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
