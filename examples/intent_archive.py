"""intent as an archive of TorchServe's: `python -m examples.intent_archive model_store` makes model_store/intent.mar.

The weights are those of the model `intent` in model_repository, so that both give the same answers.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

import kserve_v2
from examples.source import MODEL_REPOSITORY

FOLDER = Path(__file__).with_name("torchserve_intent")
_PLAIN = MODEL_REPOSITORY / "intent" / "1"


def make(model_store: Path) -> Path:
    """Write the archive; returns where it is."""
    plain = json.loads((_PLAIN / "manifest.json").read_text(encoding="utf-8"))
    words = json.loads((_PLAIN / "vocab.json").read_text(encoding="utf-8"))
    classes = {str(number): intent for number, intent in enumerate(plain["intents"])}
    manifest = {"classes": classes, "width": plain["width"], "buckets": plain["buckets"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(load_file(_PLAIN / "weights.safetensors"), folder / "model.pth")
        torch.save({word: row for row, word in enumerate(words)}, folder / "vocab.pth")
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return kserve_v2.archive_model(
            "intent",
            version="1.0",
            handler=str(FOLDER / "torchserve_handler.py"),
            serialized_file=folder / "model.pth",
            extra_files=[folder / "vocab.pth", folder / "manifest.json"],
            config_file=FOLDER / "model-config.yaml",
            export_path=model_store,
            force=True,
        )


def main(arguments: Sequence[str]) -> int:
    """The command. Returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m examples.intent_archive MODEL_STORE", file=sys.stderr)
        return 2
    print(make(Path(arguments[0])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
