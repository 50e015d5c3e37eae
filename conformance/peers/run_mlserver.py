"""Run the suite against MLServer."""

from peer import Command, Peer, Place, main


def command(place: Place) -> Command:
    """With MLServer's own defaults, but for the addresses."""
    variables = {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(place.http_port),
        "MLSERVER_GRPC_PORT": str(place.grpc_port),
        "MLSERVER_METRICS_PORT": str(place.metrics_port),
    }
    return Command([place.program("mlserver"), "start", str(place.models)], variables)


if __name__ == "__main__":
    main(Peer("mlserver", command))
