"""Models in the style of TorchServe's gallery, their handlers as they are: known answers are those of the networks alone,
of torchvision's documented transforms, and of closed forms.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kserve_v2_child.answers import ModelError
from kserve_v2_child.torchserve.packing import Field
from PIL import Image

from tests.torchserve import gallery
from tests.torchserve.support import archive, loaded

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def image(*size: int, colour: Any = (255, 128, 0), mode: str = "RGB") -> bytes:
    written = io.BytesIO()
    Image.new(mode, size, colour).save(written, "PNG")
    return written.getvalue()


def normalized(colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = (np.array(colour) / 255 - MEAN) / DEVIATION
    return found


@pytest.mark.slow
def test_an_image_classifier_tells_the_five_most_likely_classes(tmp_path: Path) -> None:
    path, model = gallery.image_classifier(tmp_path)
    pixel = torch.tensor(normalized((255, 128, 0)), dtype=torch.float32)
    with torch.inference_mode():
        expected = torch.softmax(model(pixel.view(1, 3, 1, 1)), 1)[0]
    with loaded(path) as handler:
        answers = handler.json(image(300, 400), image(224, 224))
        (text,) = handler.json([Field("data", base64.b64encode(image(10, 9)), "text/plain")])
        for answer in (*answers, text):
            assert list(answer.values()) == sorted(answer.values(), reverse=True)
            assert len(answer) == 5
            for name, probability in answer.items():
                assert probability == pytest.approx(
                    expected[int(name.removeprefix("class-"))].item(), abs=1e-5
                )
        with pytest.raises(ValueError, match="3 channels, got 1"):
            handler.ask(image(10, 10, colour=7, mode="L"))


def test_classes_of_an_image_are_explained(tmp_path: Path) -> None:
    path, _ = gallery.image_classifier(tmp_path)
    with loaded(path) as handler:
        (answer,) = handler.json(image(224, 224), headers={"explain": "True"})
    assert np.shape(answer) == (3, 224, 224)


def test_a_subclass_with_weights_of_its_own(tmp_path: Path) -> None:
    path, model = gallery.digits(tmp_path)
    noise = np.random.default_rng(5).integers(0, 256, (28, 28), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(noise).save(written, "PNG")
    scaled = (torch.tensor(noise, dtype=torch.float32) / 255 - 0.1307) / 0.3081
    with torch.inference_mode():
        expected = int(model(scaled.view(1, 1, 28, 28)).argmax())
    with loaded(path) as handler:
        assert handler.json(written.getvalue(), written.getvalue()) == [expected, expected]


@pytest.mark.slow
def test_a_segmenter_tells_the_class_of_each_pixel(tmp_path: Path) -> None:
    with loaded(gallery.segmenter(tmp_path)) as handler:
        (answer,) = handler.json(image(224, 224))
    values = np.exp(4 * normalized((255, 128, 0)))
    assert np.shape(answer) == (224, 224, 2)
    assert answer[0][0] == pytest.approx([0.0, values[0] / values.sum()], abs=1e-5)


def test_a_detector_tells_what_it_is_sure_of(tmp_path: Path) -> None:
    with loaded(gallery.detector(tmp_path)) as handler:
        assert handler.json(image(8, 8), image(8, 8)) == [[{"cat": [0.0, 1.0, 2.0, 3.0], "score": 0.75}]] * 2


def test_a_text_classifier_cleans_the_text_first(tmp_path: Path) -> None:
    path, model = gallery.text_classifier(tmp_path)
    with torch.inference_mode():
        expected = torch.softmax(model(torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0])), 1)[0].tolist()
    with loaded(path) as handler:
        (answer,) = handler.json("<b>Don't</b> panic&nbsp;&#33;!")
        assert list(answer) == ["calm", "alarm"]
        assert list(answer.values()) == pytest.approx(expected)
        assert handler.json("do not panic") == [answer]
        with pytest.raises(KeyError, match="unknown"):
            handler.ask("unknown")
        with pytest.raises(ModelError, match="number of batch response mismatched"):
            handler.ask("panic", "panic")


EMBEDS = """
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(5, 3)
        self.layer = nn.Linear(3, 2)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.arange(15.0).reshape(5, 3).cos())
            self.layer.weight.copy_(torch.arange(6.0).reshape(2, 3).sin())

    def forward(self, text, offsets):
        return self.layer(torch.tanh(self.embedding(text, offsets)))
"""


def test_what_makes_a_text_what_it_is(tmp_path: Path) -> None:
    pytest.importorskip("captum")
    torch.save({"good": 1, "day": 2, "good day": 3}, tmp_path / "source_vocab.pt")
    path = archive(
        tmp_path, "m", "text_classifier", model_file="network.py", network__py=EMBEDS,
        source_vocab__pt=(tmp_path / "source_vocab.pt").read_bytes(),
    )  # fmt: skip
    with loaded(path) as handler:
        [answer] = handler.json(b"Good day!", headers={"explain": "True"})
    assert answer["words"] == ["good", "day"]
    # As observed on TorchServe 0.12.
    expected = [0.329762727022171, 0.17771942913532257, 0.49251788854599]
    assert answer["importances"] == [pytest.approx(expected, rel=1e-5)]


def test_a_handler_explains_and_describes(tmp_path: Path) -> None:
    row = {"features": [1.0, 1.0, 1.0], "target": 1}
    with loaded(gallery.table(tmp_path)) as handler:
        assert handler.json(row, row) == [[6.0, 15.0], [6.0, 15.0]]
        explained = [Field("body", json.dumps(row).encode(), "application/json"), Field("target", b"")]
        (answer,) = handler.json(explained, headers={"explain": "True"})
        assert answer == {"importances": [1.0, 2.0, 3.0], "target": 0}
        assert handler.json(b"", headers={"describe": "True"}) == [{"columns": ["age", "fare", "class"]}]


def test_answers_may_be_images(tmp_path: Path) -> None:
    with loaded(gallery.generator(tmp_path)) as handler:
        (parsed, told), (raw, _) = handler.ask({"grey": 7}, b'{"grey": 9}')
    assert np.asarray(Image.open(io.BytesIO(parsed))).tolist() == [[7] * 4] * 2
    assert np.asarray(Image.open(io.BytesIO(raw))).tolist() == [[9] * 4] * 2
    assert told == {}


def test_several_files_of_one_request_are_one_row(tmp_path: Path) -> None:
    fields = [
        Field("left", image(4, 4, colour=(10, 10, 10))),
        Field("right", image(4, 4, colour=(16, 16, 16)), "image/png"),
    ]
    with loaded(gallery.siamese(tmp_path)) as handler:
        assert handler.json(fields, fields) == [{"distance": 6.0}] * 2


def test_micro_batches_come_back_in_order(tmp_path: Path) -> None:
    texts = ["hello", "world", "hello world", "a", "b"]
    with loaded(gallery.translator(tmp_path)) as handler:
        answers = handler.json(*texts)
        assert handler.worker._context.system_properties["batch_size"] == 5
    assert [each["translation"] for each in answers] == ["hallo", "welt", "hallo welt", "a", "b"]
    assert answers[-1]["pieces"] == [2, 2, 1]


def test_an_onnx_file_behind_the_envelope_of_tensorflow_serving(tmp_path: Path) -> None:
    body = {"instances": [{"data": [1, 2]}, {"data": [3, 4]}]}
    with loaded(gallery.onnx_regressor(tmp_path), service_envelope="json") as handler:
        assert handler.json(body, {"instances": [{"data": [5, 6]}]}) == [
            {"predictions": [[2.0, 4.0], [6.0, 8.0]]},
            {"predictions": [[10.0, 12.0]]},
        ]


@pytest.mark.parametrize(
    ("envelope", "body", "expected"),
    [
        ("body", [1, 2], [1, 2]),
        ("json", {"instances": [[1, 2]]}, {"predictions": [[1, 2]]}),
        ("json", {"instances": [{"b64": "YWI="}]}, {"predictions": ["ab"]}),
        ("kserve", {"instances": [[1, 2], [3]]}, {"predictions": [[1, 2], [3]]}),
        (
            "kservev2",
            {"id": "x", "inputs": [{"name": "in", "datatype": "INT64", "shape": [2, 1], "data": [1, 2]}]},
            {
                "id": "x", "model_name": "echo", "model_version": "1.0",
                "outputs": [{"name": "in", "datatype": "INT64", "data": [1, 2], "shape": [2]}],
            },
        ),
    ],
)  # fmt: skip
def test_envelopes(tmp_path: Path, envelope: str, body: Any, expected: Any) -> None:
    code = """
def handle(data, context):
    if data is None:
        return None
    given = [each["data"] if isinstance(each, dict) else each for each in data]
    return [each.decode() if isinstance(each, bytes) else each for each in given]
"""
    with loaded(archive(tmp_path, "echo", handler__py=code), service_envelope=envelope) as handler:
        assert handler.json(body) == [expected]


def test_a_base_handler_alone_needs_rows_that_are_numbers(tmp_path: Path) -> None:
    path = archive(
        tmp_path, "plain", "base_handler", model__py=gallery.TABLE_MODEL, model_file="model.py",
        w__pt=gallery._saved({"fc.weight": gallery.TABLE_WEIGHTS}), serialized_file="w.pt",
    )  # fmt: skip
    with loaded(path, service_envelope="body") as handler:
        assert handler.json([1.0, 1.0, 1.0], [0.0, 0.0, 1.0]) == [[6.0, 15.0], [3.0, 6.0]]


class Pickled:
    """What is no weights."""


def test_a_pickle_is_not_read_unless_the_model_says_so(tmp_path: Path) -> None:
    weights = gallery._saved({"fc.weight": gallery.TABLE_WEIGHTS, "other": Pickled()})
    path = archive(
        tmp_path, "pickled", handler__py=gallery.TABLE_HANDLER, model__py=gallery.TABLE_MODEL, model_file="model.py",
        w__pt=weights, serialized_file="w.pt",
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="cannot be loaded as weights alone"), loaded(path):
        pass
