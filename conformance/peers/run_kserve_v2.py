"""Run the suite against kserve-v2, as it is installed beside the Python that runs this script."""

import sys
from pathlib import Path

from peer import Command, Peer, Place, documented_start, main


def command(place: Place) -> Command:
    """As `conformance models` says, in control mode explicit, with shared memory and files; on other ports."""
    arguments = documented_start("kserve-v2", place)
    ports = {"http": place.http_port, "grpc": place.grpc_port, "metrics": place.metrics_port}
    arguments += [f"--{service}-port={port}" for service, port in ports.items()]
    return Command([str(Path(sys.executable).with_name("kserve-v2")), *arguments])


if __name__ == "__main__":
    main(Peer("kserve-v2", command, installed=True))
