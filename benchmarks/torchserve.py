"""This server beside a real TorchServe: the same archives, the same requests to `/predictions`, in turns.

    python -m benchmarks.torchserve --torchserve .venv-torchserve/bin/torchserve [--seconds 5] [--rounds 5]

Needs Java and wrk; `make compare-torchserve` makes the environment. Each model has one worker, and batches of up to 16
requests that wait for each other for a millisecond at most. The target is three times TorchServe's throughput at 16
connections; the exit status is 1 where it is missed.
"""

import argparse
import io
import json
import shutil
import tempfile
from pathlib import Path
from statistics import median

from PIL import Image

from benchmarks.load.exchange import RestExchange
from benchmarks.load.wrk import Wrk
from tests.torchserve_api.both import INFERENCE, both
from tests.torchserve_api.support import mar

TARGET = 3.0
TARGET_CONNECTIONS = 16
CONNECTIONS = (1, 16)

_WORKER = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 16\nmaxBatchDelay: 1\n"

MLP = """
import torch

class Handler:
    def initialize(self, context):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        layers = torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
        self.model = torch.nn.Sequential(*layers).eval()

    def handle(self, data, context):
        rows = torch.tensor([row.get("data") or row.get("body") for row in data])
        with torch.inference_mode():
            return self.model(rows).argmax(1).tolist()
"""

IMAGES = """
import io

import torch
from PIL import Image

class Handler:
    def initialize(self, context):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        layers = torch.nn.Conv2d(3, 16, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2), torch.nn.ReLU()
        pool = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10)
        self.model = torch.nn.Sequential(*layers, *pool).eval()

    def handle(self, data, context):
        images = [Image.open(io.BytesIO(row.get("data") or row.get("body"))).resize((64, 64)) for row in data]
        rows = torch.stack([torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8) for each in images])
        pixels = rows.view(-1, 64, 64, 3).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return self.model(pixels).argmax(1).tolist()
"""


def _picture() -> bytes:
    written = io.BytesIO()
    Image.effect_noise((128, 128), 50).convert("RGB").save(written, "JPEG")
    return written.getvalue()


def _exchanges(url: str) -> dict[str, RestExchange]:
    json_type, jpeg_type = {"Content-Type": "application/json"}, {"Content-Type": "image/jpeg"}
    numbers = json.dumps([0.5] * 256).encode()
    return {
        "MLP of 256 inputs": RestExchange(f"{url}/predictions/mlp", numbers, json_type),
        "image of 128 x 128": RestExchange(f"{url}/predictions/images", _picture(), jpeg_type),
    }


def _rates(
    folder: Path, urls: list[str], seconds: int, rounds: int
) -> dict[tuple[str, int], list[list[float]]]:
    """Requests per second by model and connections, of each server in each round."""
    wrk, sides = Wrk(folder), [_exchanges(url) for url in urls]
    rates: dict[tuple[str, int], list[list[float]]] = {}
    for number in range(rounds + 1):
        for name in sides[0]:
            for connections in CONNECTIONS:
                # They take turns at going first, and the first round only warms up.
                order = (0, 1) if number % 2 else (1, 0)
                found = [0.0, 0.0]
                for side in order:
                    load = wrk.run(sides[side][name], connections, seconds if number else 2)
                    found[side] = load.requests / load.seconds
                if number:
                    rates.setdefault((name, connections), []).append(found)
    return rates


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--torchserve", required=True, help="the program")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for program in ("java", "wrk"):
        if shutil.which(program) is None:
            raise SystemExit(f"it takes {program}, which is not there")
    missed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mar(folder / "store", "mlp", MLP, yaml=_WORKER)
        mar(folder / "store", "images", IMAGES, yaml=_WORKER)
        program = str(Path(arguments.torchserve).absolute())
        with both(program, folder, ["mlp.mar", "images.mar"], "") as (theirs, ours):
            urls = [theirs[INFERENCE], ours[INFERENCE]]
            rates = _rates(folder, urls, arguments.seconds, arguments.rounds)
    print(
        "| model | connections | TorchServe, requests/s | here, requests/s | ratio |\n|---|---|---|---|---|"
    )
    for (model, connections), rounds in rates.items():
        left, right = (median(each[side] for each in rounds) for side in (0, 1))
        ratios = sorted(each[1] / each[0] for each in rounds)
        ratio = median(ratios)
        missed |= connections == TARGET_CONNECTIONS and ratio < TARGET
        print(
            f"| {model} | {connections} | {left:,.0f} | {right:,.0f} | "
            f"{ratio:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) |"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
