"""The options by which somebody says what a model's tensors are."""

import argparse

from kserve_v2.tensors.written import EXPECTED, WrittenTensor, read_tensor


def add_tensors(group: "argparse._ArgumentGroup", where: str) -> None:
    """Add --input and --output. `where`: for what they are, as the beginning of a sentence."""
    for kind in ("input", "output"):
        group.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            type=_tensor,
            metavar="TENSOR",
            help=f"{where}: an {kind}, as {EXPECTED}; N is the batch. May be repeated, in the order of the model's.",
        )


def _tensor(text: str) -> WrittenTensor:
    try:
        return read_tensor(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {EXPECTED}, got {text!r}") from None
