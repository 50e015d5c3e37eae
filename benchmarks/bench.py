"""What every case gets: the options of the run, the models, the load generators, a place for files."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.load.exchange import ExchangeT, GrpcExchange, NoAnswerError, RestExchange
from benchmarks.load.generator import Generator, Load
from benchmarks.processes import Child, child, serve

T = TypeVar("T")


@dataclass(frozen=True)
class Bench:
    """One run of the benchmarks.

    `seconds`: length of one measurement. `rounds`: how often server and yardstick are measured in turn.
    """

    directory: Path
    seconds: int
    rounds: int
    rest: Generator[RestExchange]
    grpc: Generator[GrpcExchange]
    busiest: dict[str, float] = field(default_factory=dict)
    """Highest share of one CPU that each generator took in any measurement."""
    repeated: list[str] = field(default_factory=list)
    """Measurements that were taken again because no answer came."""

    @property
    def repository(self) -> Path:
        """The models."""
        return self.directory / "models"

    def server(self, *models: str, flags: Sequence[str] = ()) -> AbstractContextManager[Child]:
        """The server under test, with these models loaded, and `flags` beside the usual ones."""
        return serve(self.repository, models, self.directory / "server.log", more_flags=flags)

    def process(self, *module: str, url: str) -> AbstractContextManager[Child]:
        """`python -m module…`, which serves under the URL named `url`, REST or gRPC."""
        return child(module, {url}, self.directory / "yardstick.log")

    def in_turn(self, what: str, measures: Sequence[Callable[[], T]]) -> Iterator[tuple[T, ...]]:
        """Take all measures in every round. They take turns at going first, so none has the better place."""
        for number in self.each_round(what):
            first = number % len(measures)
            found = [measure() for measure in (*measures[first:], *measures[:first])]
            yield (*found[len(measures) - first :], *found[: len(measures) - first])

    def each_round(self, what: str) -> Iterator[int]:
        """The numbers of the rounds, told to the person who waits."""
        for number in range(self.rounds):
            print(f"{what}: round {number + 1} of {self.rounds}", file=sys.stderr, flush=True)
            yield number

    def load(
        self, generator: Generator[ExchangeT], exchange: ExchangeT, connections: int, seconds: int
    ) -> Load:
        """Run a generator, and remember how busy it was.

        A run in which no answer came at all is repeated once, and the report says so: on a machine that stood still
        for a moment, one in some hundreds may be.
        """
        try:
            load = generator.run(exchange, connections, seconds)
        except NoAnswerError:
            self.repeated.append(f"{generator.name}, {connections} connections")
            load = generator.run(exchange, connections, seconds)
        self.note_busy(generator.name, load)
        return load

    def note_busy(self, generator: str, load: Load) -> None:
        """Remember how busy a generator was."""
        self.busiest[generator] = max(load.busy, self.busiest.get(generator, 0))
