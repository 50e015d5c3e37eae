"""From a text to the field that it is about."""

from pathlib import Path

import pytest

from kserve_v2.checking.texts import ConfigText, Said
from kserve_v2.config import parse_config
from kserve_v2.config.places import Place

TEXT = """\
backend: "python"
input { name: "x" }
output { name: "x"
  label_filename: "l" }
parameters { key: "a.b" value { string_value: "c" } }
ensemble_scheduling {
  step { model_name: "m" input_map { key: "i" value: "t" } }
  step { model_name: "n"
    output_map { key: "o" value: "t" } }
}
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> ConfigText:
    path: Path = tmp_path_factory.mktemp("m") / "config.pbtxt"
    path.write_text(TEXT)
    text = ConfigText.of(path, "m/config.pbtxt")
    text.config = parse_config(TEXT, "c")
    return text


@pytest.mark.parametrize(
    ("said", "field", "message", "place"),
    [
        ("input[0].name: is wrong: very", "input[0].name", "is wrong: very", (2, 9)),
        ("input[0].dims[3]: is wrong", "input[0].dims[3]", "is wrong", (2, 1)),
        ("max_batch_size: is wrong", "max_batch_size", "is wrong", None),
        ("parameters['a.b']: is wrong", "parameters['a.b']", "is wrong", (5, 1)),
        ("parameters['a.b'].inputs['ids']: no", "parameters['a.b'].inputs['ids']", "no", (5, 1)),
        ("backend is set but has no effect", "backend", "is set but has no effect", (1, 1)),
        ("m/config.pbtxt:3:4: unknown field", "", "unknown field", (3, 4)),
        ("m/config.pbtxt: is UTF-16 text", "", "is UTF-16 text", None),
        ("output 'x': label file 'l' is gone", "", "output 'x': label file 'l' is gone", (3, 1)),
        ("input 'x' is int4", "", "input 'x' is int4", (2, 1)),
        ("input 'q' is int4", "", "input 'q' is int4", None),
        ("unable to find backend library for 'x'", "", "unable to find backend library for 'x'", (1, 1)),
        ("in ensemble e, step of model 'n' is late", "", "in ensemble e, step of model 'n' is late", (8, 3)),
        ("ensemble tensor t: bad, from model n", "", "ensemble tensor t: bad, from model n", (7, 26)),
        ("ensemble tensor t is bad in model n", "", "ensemble tensor t is bad in model n", (9, 5)),
        ("nonsense: not a field", "", "nonsense: not a field", None),
        ("served without a batch: really", "", "served without a batch: really", None),
        ("", "", "", None),
    ],
)
def test_it_is_understood(
    text: ConfigText, said: str, field: str, message: str, place: tuple[int, int] | None
) -> None:
    found = text.understand(said)
    assert (found.field, found.message) == (field, message)
    assert found.place == (None if place is None else Place(*place))


def test_without_a_file_there_are_no_places() -> None:
    text = ConfigText.of(None, "")
    assert text.understand("max_batch_size: no") == Said("no", "max_batch_size", None, in_config=True)
    assert text.understand("m/config.pbtxt:1:2: x") == Said("m/config.pbtxt:1:2: x")
