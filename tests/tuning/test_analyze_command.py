"""`kserve-v2 analyze` of models of which it is known what suits them, because they are made so."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.cli import main
from kserve_v2.config import read_config

# An execution takes 20 ms, whatever it is given.
BY_EXECUTION = """
import time

class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}
    max_batch_size = 8

    def __call__(self, inputs):
        time.sleep(0.02)
        return {"y": inputs["x"]}
"""

# Each row takes 10 ms, and a bit more in company.
BY_ROW = BY_EXECUTION.replace(
    "time.sleep(0.02)", 'time.sleep(0.01 * len(inputs["x"]) * (1.25 if len(inputs["x"]) > 1 else 1))'
)

MINE = """\
# mine
max_batch_size: 1  # for now
parameters { key: "note" value { string_value: "kept" } }
"""

QUICK = shlex.split("--round 0.25 --max-concurrency 8 --batch-sizes 8 --delays-us 0 --instances 1 --quiet")


def directory_of(tmp_path: Path, code: str, config: str) -> Path:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.py").write_text(code)
    (tmp_path / "m" / "config.pbtxt").write_text(config)
    return tmp_path / "m"


@pytest.mark.slow
def test_batches_win_where_an_execution_costs_the_same_and_are_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = directory_of(tmp_path, BY_EXECUTION, MINE)
    page = tmp_path / "analysis.html"
    assert main(["analyze", str(model), *QUICK, "--write", "--html", str(page)], {}) == 0
    printed = capsys.readouterr()
    assert "Take batch 8, delay 0 us, 1 instance in place of batch 1, no batching, 1 instance" in printed.out
    assert "chosen" in printed.out
    assert printed.err == f"wrote {model / 'config.pbtxt'}; what was there is config.pbtxt.before\n"

    assert (model / "config.pbtxt.before").read_text() == MINE
    remark, *lines = (model / "config.pbtxt").read_text().splitlines()
    assert remark.startswith("# kserve-v2 analyze: batch 8, delay 0 us, 1 instance: ")
    assert lines == [
        "# mine",
        "max_batch_size: 8  # for now",
        'parameters { key: "note" value { string_value: "kept" } }',
        "dynamic_batching { max_queue_delay_microseconds: 0 }",
    ]
    assert sorted(path.name for path in model.iterdir()) == ["1", "config.pbtxt", "config.pbtxt.before"]
    text = page.read_text()
    assert "<svg" in text
    assert "max_batch_size: 8" in text
    # A server would serve it.
    assert main(["check", str(tmp_path), "--strict"], {}) == 0


@pytest.mark.slow
def test_the_current_configuration_stays_where_batches_bring_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = directory_of(tmp_path, BY_ROW, MINE)
    assert main(["analyze", str(tmp_path), "m", *QUICK, "--write", "--json"], {}) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["changed"] is False
    assert report["chosen"] == report["current"] == {
        "max_batch_size": 1, "delay_us": -1, "instances": 1, "threads": 0,
    }  # fmt: skip
    assert report["config"] == MINE
    # The other one was tried.
    assert {each["max_batch_size"] for each in report["measured"]} == {1, 8}
    assert (model / "config.pbtxt").read_text() == MINE
    assert not (model / "config.pbtxt.before").exists()
    assert read_config(model / "config.pbtxt", "x").max_batch_size == 1


@pytest.mark.slow
def test_what_cannot_be_loaded_does_not_count_and_requests_are_not_merged_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # It declares no batches, so nobody knows whether its rows may be merged; two instances are more than it allows.
    code = BY_EXECUTION.replace("    max_batch_size = 8\n", "").replace(
        "    def __call__",
        '    def load(self, context):\n        if "instance_count" in context.parameters or context.config.instance_group[0].count > 1:\n'
        '            raise ValueError("one at a time")\n\n    def __call__',
    )
    config = "max_batch_size: 1\n"
    directory_of(tmp_path, code, config)
    quick = shlex.split("--round 0.1 --max-concurrency 1 --instances 2 --quiet --json")
    assert main(["analyze", str(tmp_path), "m", *quick], {}) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["changed"] is False
    assert {each["max_batch_size"] for each in report["measured"]} == {1}
    told = "\n".join(report["notes"])
    assert "Could not be used: batch 1, no batching, 2 instances: 400 Bad Request: " in told
    assert "one at a time" in told
    assert "Requests are not merged" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ("", 2, "expected a repository and a model, or a model's directory"),
        ("{repository} m n", 2, "expected a repository and a model, or a model's directory"),
        ("/no/such", 2, "'/no/such' is no directory"),
        ("{repository} nix", 2, "no model repository has a directory of the name 'nix'"),
        ("{repository} m --latency-budget 20", 2, "argument --latency-budget: expected a time with its unit"),
        ("{repository} m --instances 0", 2, "values of instances: expected whole numbers from 1"),
        ("{repository} m --plot x.gif", 2, "--plot x.gif: expected a name that ends in"),
        ("{repository} m --http-prot 1", 2, "unknown option --http-prot"),
    ],
)
def test_mistakes_are_one_line_and_a_status(
    tmp_path: Path, arguments: str, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    directory_of(tmp_path, BY_ROW, MINE)
    assert main(["analyze", *shlex.split(arguments.format(repository=tmp_path))], {}) == status
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {text}")
    assert printed.err.count("\n") == 1


@pytest.mark.slow
def test_a_model_that_does_not_load_is_the_server_s_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory_of(tmp_path, "raise ValueError('broken')\n", MINE)
    assert main(["analyze", str(tmp_path), "m", *QUICK], {}) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: POST /v2/repository/models/m/load: 400 Bad Request: load failed")
    assert "broken" in printed.err
