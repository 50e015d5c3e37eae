"""wrk as load generator for REST. It checks the status of every answer, not the body.

Where a request took more than twice the mean, wrk adds the requests that a client would have sent meanwhile that
does not wait for answers. So its upper quantiles are a little above those of a plain closed loop.
"""

import json
from pathlib import Path

from benchmarks.load.exchange import LoadError, NoAnswerError, RestExchange
from benchmarks.load.generator import Latency, Load, timed_run

# JSON strings without escapes are Lua strings as well; the body may hold any bytes, so it comes from a file.
_ONE_REQUEST = """
wrk.method = "POST"
wrk.body = io.open({body_path}, "rb"):read("*a")
{headers}
"""

# Requests that differ are whole in the file, one behind the other.
_REQUESTS = """
local requests, at = {{}}, 0
local file = io.open({body_path}, "rb")
for size in string.gmatch("{sizes}", "%d+") do
  requests[#requests + 1] = file:read(tonumber(size))
end
function request()
  at = at % #requests + 1
  return requests[at]
end
"""

_DONE = """
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('SUMMARY {"requests": %d, "microseconds": %d, "failed": %d, '
    .. '"quantiles_us": [%f, %f, %f]}\\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


class Wrk:
    """Runs wrk, with one thread unless it is told otherwise."""

    name = "wrk"

    def __init__(self, work_directory: Path, threads: int = 1) -> None:
        """`work_directory`: where its script may be written."""
        self._directory = work_directory
        self._threads = threads

    def run(self, exchange: RestExchange, connections: int, seconds: int) -> Load:
        """See `Generator.run`."""
        script_path = self._directory / "wrk.lua"
        script_path.write_text(self._script(exchange) + _DONE)
        threads = min(self._threads, connections)
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        output, busy = timed_run([*command, "-s", str(script_path), exchange.url], seconds)
        seen = json.loads(output.partition("SUMMARY ")[2])
        if not seen["failed"] and not seen["requests"]:
            raise NoAnswerError(f"wrk: no answer came:\n{output}")
        if seen["failed"]:
            raise LoadError(f"wrk: {seen['failed']} of {seen['requests']} requests failed:\n{output}")
        return Load(seen["requests"], seen["microseconds"] / 1e6, Latency(*seen["quantiles_us"]), busy)

    def _script(self, exchange: RestExchange) -> str:
        """What to send."""
        body_path = self._directory / "wrk.body"
        if len(exchange.requests) > 1:
            requests = [each.wire for each in exchange.requests]
            body_path.write_bytes(b"".join(requests))
            sizes = " ".join(str(len(each)) for each in requests)
            return _REQUESTS.format(body_path=json.dumps(str(body_path)), sizes=sizes)
        body_path.write_bytes(exchange.body)
        headers = [
            f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
            for name, value in exchange.headers.items()
        ]
        return _ONE_REQUEST.format(body_path=json.dumps(str(body_path)), headers="\n".join(headers))
