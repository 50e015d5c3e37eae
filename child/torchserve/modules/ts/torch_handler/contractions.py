"""Short forms of English, and what they stand for."""

_NOT = (
    "are",
    "could",
    "did",
    "does",
    "do",
    "had",
    "has",
    "have",
    "is",
    "might",
    "must",
    "need",
    "should",
    "was",
    "were",
    "would",
)
_PRONOUNS = (
    "I",
    "you",
    "he",
    "she",
    "it",
    "we",
    "they",
    "that",
    "there",
    "what",
    "who",
    "where",
    "how",
    "when",
    "why",
)
_ENDINGS = {"'ll": "will", "'d": "would", "'ve": "have", "'d've": "would have", "'ll've": "will have"}

CONTRACTION_MAP: "dict[str, str]" = {
    **{f"{word}n't": f"{word} not" for word in _NOT},
    "can't": "cannot",
    "can't've": "cannot have",
    "won't": "will not",
    "won't've": "will not have",
    "shan't": "shall not",
    "ain't": "is not",
    "ma'am": "madam",
    "let's": "let us",
    "o'clock": "of the clock",
    "y'all": "you all",
    "'cause": "because",
    "I'm": "I am",
    **{f"{word}'re": f"{word} are" for word in ("you", "we", "they", "what", "who", "there", "how")},
    **{
        f"{word}'s": f"{word} is"
        for word in ("he", "she", "it", "that", "there", "what", "who", "where", "how", "when", "why")
    },
    **{
        f"{word}{ending}": f"{word} {whole}"
        for word in _PRONOUNS
        for ending, whole in reversed(list(_ENDINGS.items()))
    },
}
"""By the short form. Longer ones stand before those that they begin with."""

CONTRACTION_MAP = dict(sorted(CONTRACTION_MAP.items(), key=lambda entry: -len(entry[0])))
