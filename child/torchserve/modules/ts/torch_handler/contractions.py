"""Short forms of English, and what they stand for: those that TorchServe knows. It finds shorter ones first, so that of
`you'd've` it expands `you'd`, and there are none of two parts here.
"""

_NOT = "are could did does do had has have is may might must need ought should was were would"
_ENDINGS = {
    "'ve have": "i you we they what who where when why to so might must could should would",
    "'d would": "i you he she it we they that there",
    "'d did": "where how",
    "'ll will": "i you he she it we they what who how",
    "'s is": "he she it that there what who where how when why",
    "'re are": "you we they what",
}

CONTRACTION_MAP: "dict[str, str]" = {
    **{f"{word}n't": f"{word} not" for word in _NOT.split()},
    "can't": "cannot",
    "won't": "will not",
    "shan't": "shall not",
    "sha'n't": "shall not",
    "ain't": "is not",
    **{
        f"{word}{ending.split()[0]}": f"{word} {ending.split()[1]}"
        for ending, words in _ENDINGS.items()
        for word in words.split()
    },
    "i'm": "i am",
    "let's": "let us",
    "so's": "so as",
    "ma'am": "madam",
    "o'clock": "of the clock",
    "y'all": "you all",
    "'cause": "because",
}
"""By the short form, in small letters."""
