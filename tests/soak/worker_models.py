"""The models of a server with several processes: some in all of them, some in one, some with a state."""

from pathlib import Path

from tests.soak.models import COUNT, MOODY, TAGGED, write_add_sub, write_handler

REPLICATED = ("add_sub", "shared")
"""Those that each process has a copy of."""

SINGLE = ("tagged", "count", "sums")
"""Those that one process has."""

COUNTED = (*REPLICATED, *SINGLE)

# Y = 2 X, with its tag; fails for odd ones.
_SHARED = """dynamic_batching { }
parameters { key: "home" value { string_value: "replicated" } }
parameters { key: "try_batching" value { string_value: "false" } }
"""

# Adds up what its sequence has sent.
_SUMS = """
import numpy as np

class Model:
    inputs = {"X": ("INT64", [1])}
    outputs = {"SUM": ("INT64", [1])}
    max_batch_size = 8

    def load(self, context):
        self.sums = {}

    def __call__(self, inputs, requests):
        answers = []
        for row, request in enumerate(requests):
            step = request.sequence
            if not step.id:
                # A slot that no sequence has now.
                answers.append([0])
                continue
            if step.start:
                self.sums[step.id] = 0
            self.sums[step.id] += int(inputs["X"][row, 0])
            answers.append([self.sums.pop(step.id) if step.end else self.sums[step.id]])
        return {"SUM": np.array(answers, np.int64)}
"""

# Sequences whose client has lost its connection are forgotten soon.
_SEQUENCES = "sequence_batching { direct { } max_sequence_idle_microseconds: 5000000 }"
_PLAIN = """dynamic_batching { }
parameters { key: "try_batching" value { string_value: "false" } }
"""


def write_worker_models(repository: Path, tags: int) -> None:
    """Write all of them; `tags` is above every tag."""
    write_add_sub(repository)
    write_handler(repository, "shared", MOODY, _SHARED)
    write_handler(repository, "tagged", TAGGED.format(tags=tags), _PLAIN)
    write_handler(repository, "count", COUNT)
    write_handler(repository, "sums", _SUMS, _SEQUENCES)
