"""Runs a server on its own, in a network namespace without a way out if possible, and tells what left it.

`python watch.py REPOSITORY MODEL...` sends one request of [[1.0]] as input x to each model, stops the server, and prints
the `Watch` as JSON. `python watch.py` without a repository does what must not happen, to show that it is seen.
"""

import fcntl
import http.client
import json
import re
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_COUNTERS = ("Tcp.ActiveOpens", "Udp.OutDatagrams", "Udp6OutDatagrams", "Ip.OutNoRoutes", "Ip6OutNoRoutes")


def raise_loopback() -> None:
    """A new namespace has it, but down."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(ask, get_flags, request))[1]
        fcntl.ioctl(ask, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def counters() -> dict[str, int]:
    """What the kernel has counted for this namespace: connections begun, datagrams, and what found no way."""
    found: dict[str, int] = {}
    lines = Path("/proc/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        protocol = names.partition(":")[0]
        found |= {
            f"{protocol}.{name}": int(value)
            for name, value in zip(names.split()[1:], values.split()[1:], strict=True)
        }
    with suppress(FileNotFoundError):  # without IPv6
        found |= {
            name: int(value)
            for name, value in map(str.split, Path("/proc/net/snmp6").read_text().splitlines())
        }
    return {name: found.get(name, 0) for name in _COUNTERS}


def speak() -> None:
    """Look a name up, and open a connection."""
    with suppress(OSError):
        socket.getaddrinfo("events.example.com", 443)
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(0.1)
            connection.connect((address, 443))


def visit(repository: str, models: list[str]) -> tuple[list[int], int]:
    """The status of each answer, and the server's exit status. One connection is made."""
    command = [sys.executable, "-m", "kserve_v2", "serve", "--model-repository", repository]
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        statuses: list[int] = []
        for line in process.stdout:
            if found := re.match(r"REST +http://(\S+)", line):
                connection = http.client.HTTPConnection(found[1], timeout=60)
                tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
                for model in models:
                    connection.request("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}))
                    response = connection.getresponse()
                    response.read()
                    statuses.append(response.status)
                connection.close()
                process.send_signal(signal.SIGTERM)
        return statuses, process.wait(60)


def main() -> None:
    """Print what happened."""
    separate = "--namespace" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--namespace"]
    if separate:
        raise_loopback()
    before = counters()
    statuses, ended = visit(arguments[0], arguments[1:]) if arguments else (speak(), 0)
    after = counters()
    left = {name: after[name] - before[name] for name in after}
    print(json.dumps({"statuses": statuses, "ended": ended, "left": left if separate else None}))


if __name__ == "__main__":
    main()
