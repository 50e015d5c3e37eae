"""Run the suite against kserve-v2, as it is installed beside the Python that runs this script."""

import sys
from pathlib import Path

from peer import Command, Peer, Place, main


def command(place: Place) -> Command:
    """In control mode explicit, with shared memory and files of clients, so that all extensions can be tested."""
    arguments = [
        str(Path(sys.executable).with_name("kserve-v2")),
        "serve",
        "--model-repository",
        str(place.models),
    ]
    arguments += ["--model-control-mode=explicit", "--allow-client-shm", "--allow-file-override"]
    arguments += [f"--load-model={model.name}" for model in place.written if model.loaded_at_start]
    ports = {"http": place.http_port, "grpc": place.grpc_port, "metrics": place.metrics_port}
    arguments += [f"--{service}-port={port}" for service, port in ports.items()]
    return Command(arguments)


if __name__ == "__main__":
    main(Peer("kserve-v2", command, installed=True))
