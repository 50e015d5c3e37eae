"""Run the suite against TorchServe, in its mode for this protocol. Needs Java 17."""

import os

from peer import Command, Peer, Place, documented_start, main


def command(place: Place) -> Command:
    """As `conformance models` says, on other ports."""
    addresses = {
        "inference_address": f"http://127.0.0.1:{place.http_port}",
        "management_address": f"http://127.0.0.1:{place.spare_ports[0]}",
        "metrics_address": f"http://127.0.0.1:{place.metrics_port}",
        "grpc_inference_port": place.grpc_port,
        "grpc_management_port": place.spare_ports[1],
    }
    with (place.models / "config.properties").open("a") as properties:
        properties.writelines(f"{name}={value}\n" for name, value in addresses.items())
    # It keeps its process id in the folder for temporary files, and starts only once there.
    path = os.pathsep.join([str(place.environment / "bin"), os.environ["PATH"]])
    variables = {"PATH": path, "TMPDIR": str(place.models)}
    return Command([place.program("torchserve"), *documented_start("torchserve", place)], variables)


if __name__ == "__main__":
    main(Peer("torchserve", command))
