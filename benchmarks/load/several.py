"""As the built-in load generator, but with a request for every connection: `python -m benchmarks.load.several`."""

import json
import sys
from collections.abc import Sequence

import uvloop

from benchmarks.load.builtin import Exchange, from_json, load, run_job, to_json
from benchmarks.load.generator import Load


def run_several(exchanges: Sequence[Exchange], seconds: int) -> Load:
    """Load with one connection for each exchange, from a process of its own. Raises LoadError if an answer is wrong."""
    job = {"exchanges": [to_json(exchange) for exchange in exchanges], "seconds": seconds}
    return run_job(__name__, job, seconds)


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    print(json.dumps(uvloop.run(load([from_json(each) for each in job["exchanges"]], job["seconds"]))))


if __name__ == "__main__":
    main()
