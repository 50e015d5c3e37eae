"""Run the suite against a server that is made with KServe's Python library."""

from peer import Command, Peer, Place, main


def command(place: Place) -> Command:
    """With the library's own defaults, but for the ports."""
    script = str(place.models / "server.py")
    ports = [f"--http_port={place.http_port}", f"--grpc_port={place.grpc_port}"]
    return Command([place.program("python"), script, *ports])


if __name__ == "__main__":
    main(Peer("kserve", command))
