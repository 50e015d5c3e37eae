"""How to start each server on the test models that were written for it, and how to test it then."""

from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from .catalogue import BROKEN, ModelSpec


def how_to_start(server: str, directory: Path, written: Iterable[ModelSpec]) -> list[str]:
    """Command lines: the server's own, and that of the suite."""
    models = tuple(written)
    where = quote(str(directory))
    match server:
        case "kserve-v2":
            allowed = "--allow-client-shm --allow-file-override"
            start = [f"kserve-v2 serve --model-repository {where} {allowed} {_explicit(models, ' ')}"]
            ports = 8000, 8001
        case "triton":
            start = [
                f"docker run --rm --network host --ipc host -v {quote(str(directory.absolute()))}:/models \\",
                "  nvcr.io/nvidia/tritonserver:24.10-py3 \\",
                f"  tritonserver --model-repository /models {_explicit(models, '=')}",
            ]
            ports = 8000, 8001
        case "mlserver":
            start, ports = [f"mlserver start {where}"], (8080, 8081)
        case "torchserve":
            options = f"--model-store {where}/store --ts-config {where}/config.properties --models all"
            start = [f"torchserve --foreground --ncs --disable-token-auth {options}"]
            ports = 8080, 7070
        case _:
            start, ports = [f"python {quote(str(directory / 'server.py'))}"], (8080, 8081)
    rest, grpc = (f"localhost:{port}" for port in ports)
    return [*start, f"conformance run --rest http://{rest} --grpc {grpc} --profile {server}"]


def _explicit(models: tuple[ModelSpec, ...], sign: str) -> str:
    """Options under which models can be loaded and unloaded: with all models at the start, but the one that cannot."""
    mode = f"--model-control-mode{sign}explicit"
    if all(model.name != BROKEN for model in models):
        return f"{mode} --load-model{sign}'*'"
    names = (model.name for model in models if model.loaded_at_start)
    return " ".join([mode, *(f"--load-model{sign}{name}" for name in names)])
