"""h2load as load generator for gRPC. It counts bytes of answers, since a call that fails sends no message."""

import re
from pathlib import Path

from benchmarks.load.exchange import INFER_METHOD, GrpcExchange, LoadError, NoAnswerError, framed
from benchmarks.load.generator import Latency, Load, timed_run

_SUCCEEDED = re.compile(r"(\d+) done, (\d+) succeeded")
_DATA = re.compile(r"\((\d+)\) data$", re.MULTILINE)


class H2load:
    """Runs h2load with one stream per connection, and one thread unless it is told otherwise."""

    name = "h2load"

    def __init__(self, work_directory: Path, threads: int = 1) -> None:
        """`work_directory`: where its files may be written."""
        self._directory = work_directory
        self._threads = threads

    def run(self, exchange: GrpcExchange, connections: int, seconds: int) -> Load:
        """See `Generator.run`."""
        body, log = self._directory / "h2load.body", self._directory / "h2load.log"
        body.write_bytes(framed(exchange.message))
        log.unlink(missing_ok=True)
        threads = min(self._threads, connections)
        command = ["h2load", f"-t{threads}", "-m1", f"-c{connections}", f"-D{seconds}", f"--data={body}"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"--log-file={log}"]
        url = f"http://{exchange.target}{INFER_METHOD}"
        output, busy = timed_run([*command, url], seconds)
        done, data = _SUCCEEDED.search(output), _DATA.search(output)
        if done is None or data is None or done[1] != done[2]:
            raise LoadError(f"h2load: requests failed:\n{output}")
        requests = int(done[1])
        if not requests:
            raise NoAnswerError(f"h2load: no answer came:\n{output}")
        if int(data[1]) < requests * len(framed(exchange.answer)):
            raise LoadError(f"h2load: calls ended without a message:\n{output}")
        return Load(requests, seconds, _latency(log), busy)


def _latency(log: Path) -> Latency:
    """A line of the log is start, status and microseconds, separated by tabs."""
    return Latency.of(int(line.rpartition("\t")[2]) for line in log.read_text().splitlines())
