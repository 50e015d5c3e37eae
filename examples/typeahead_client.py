"""Type a text, piece by piece, and see what the model `typeahead` expects next: `python -m examples.typeahead_client`.

    python -m examples.typeahead_client "The value of the expr" "ession is eval"

All pieces are one sequence: each request carries its own piece alone, and the server keeps what the model remembers of
the pieces before. Needs `pip install "tritonclient[http]"` and a server of model_repository/.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

PIECES = ("The value of the expr", "ession is eval", "uated, and the excep")
TOP = 3


def expected_after(
    client: triton.InferenceServerClient, pieces: Sequence[str], sequence_id: int
) -> Iterator[str]:
    """After each piece, the most probable next characters, with their probabilities."""
    for index, piece in enumerate(pieces):
        codes = np.frombuffer(piece.encode("ascii", "replace"), np.uint8)[None]
        text = triton.InferInput("text", list(codes.shape), "UINT8")
        text.set_data_from_numpy(codes)
        answer = client.infer(
            "typeahead",
            [text],
            outputs=[triton.InferRequestedOutput("next", class_count=TOP)],
            sequence_id=sequence_id,
            sequence_start=index == 0,
            sequence_end=index == len(pieces) - 1,
        )
        guesses = (entry.decode().split(":", 2) for entry in answer.as_numpy("next").ravel())
        yield ", ".join(f"{label} {float(probability):.2f}" for probability, _, label in guesses)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.typeahead_client", description="Ask typeahead.")
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help="a piece of the text, in order")
    parser.add_argument("--url", default="127.0.0.1:8000", help="host and port of the server")
    parser.add_argument("--sequence-id", type=int, default=1, help="a number that no other client uses")
    options = parser.parse_args(arguments)
    pieces = options.pieces or PIECES
    try:
        with triton.InferenceServerClient(options.url) as client:
            for piece, guesses in zip(
                pieces, expected_after(client, pieces, options.sequence_id), strict=True
            ):
                print(f"{piece!r:24} {guesses}")
    except (InferenceServerException, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
