"""What these tests have in common with those of JSON."""

from tests.json_data.conftest import in_words_of_large_texts

__all__ = ["in_words_of_large_texts"]
