"""Make what the templates of `kserve-v2 init` carry, from data of scikit-learn: `python tools/make_templates.py`.

Weights of two softmax regressions, as JSON: of measured flowers (iris), and of drawn digits. And the first of them as
an ONNX file, by the template's own script.
"""

import base64
import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "kserve_v2" / "templates"
# A three.
_SAMPLE = 3
IRIS = ("handler/1", "onnx/1")


def main() -> None:
    """Write the files."""
    flowers = load_iris()
    measurements = flowers.data.astype(np.float32)
    weights = _weights(LogisticRegression(C=10, max_iter=10_000).fit(measurements, flowers.target))
    for folder in IRIS:
        _write(TEMPLATES / folder / "weights.json", weights)
    handler = TEMPLATES / "image" / "1" / "model.py.in"
    prepare = runpy.run_path(str(handler))["prepare"]
    digits = load_digits()
    # As somebody would draw them: white paper, dark ink, larger.
    drawings = [255 - np.kron(image, np.ones((6, 6))) * 255 / 16 for image in digits.images]
    pixels = np.stack([prepare(np.repeat(each[..., None], 3, 2).astype(np.uint8)) for each in drawings])
    _write(
        handler.with_name("weights.json"),
        _weights(LogisticRegression(C=0.3, max_iter=5000).fit(pixels, digits.target)),
    )
    _write_sample(TEMPLATES / "image", drawings[_SAMPLE])
    _make_onnx(TEMPLATES / "onnx")


def _weights(model: Any) -> dict[str, Any]:
    return {
        "coefficients": np.round(model.coef_, 4).tolist(),
        "intercepts": np.round(model.intercept_, 4).tolist(),
    }


def _write(path: Path, weights: dict[str, Any]) -> None:
    rows = ",\n    ".join(json.dumps(row) for row in weights["coefficients"])
    intercepts = json.dumps(weights["intercepts"])
    path.write_text(f'{{\n  "coefficients": [\n    {rows}\n  ],\n  "intercepts": {intercepts}\n}}\n')


def _write_sample(folder: Path, drawing: Any) -> None:
    """A drawing as a file, and as a request."""
    Image.fromarray(drawing.astype(np.uint8)).resize((96, 96)).save(folder / "drawing.png", optimize=True)
    data = base64.b64encode((folder / "drawing.png").read_bytes()).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "parameters": {"content_type": "base64"}}
    text = json.dumps({**tensor, "data": [data]})
    (folder / "sample_request.json").write_text(f'{{\n  "inputs": [\n    {text}\n  ]\n}}\n')


def _make_onnx(folder: Path) -> None:
    """The script runs as `make_model.py`, beside the version's folder."""
    script = shutil.copy(folder / "make_model.py.in", folder / "make_model.py")
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        Path(script).unlink()


if __name__ == "__main__":
    main()
