"""Expectations: what TorchServe 0.12 does where several places say something."""

import logging
from typing import Any

import pytest

from kserve_v2.torchserve_api.config import TorchServeConfig
from kserve_v2.torchserve_api.config_models import VersionSettings
from kserve_v2.torchserve_api.precedence import NOTHING_ASKED, Asked, Served, served

NOBODY = VersionSettings()


def decide(
    written: dict[str, Any] | None = None,
    operator: VersionSettings = NOBODY,
    asked: Asked = NOTHING_ASKED,
    *,
    workers: int = 2,
    gpus: int = 0,
) -> Served:
    return served(TorchServeConfig(), written or {}, operator, asked, workers=workers, gpus=gpus, model="m")


def test_defaults() -> None:
    found = decide()
    assert (found.min_workers, found.max_workers) == (2, 2)
    assert (found.batch_size, found.max_batch_delay) == (1, 100)
    assert (found.response_timeout, found.startup_timeout, found.job_queue_size) == (120, 120, 100)


OPERATOR = VersionSettings(
    min_workers=3, max_workers=4, batch_size=5, max_batch_delay=77, response_timeout=33, startup_timeout=44
)


def test_the_operators_models_go_before_the_defaults() -> None:
    found = decide(operator=OPERATOR)
    assert (found.min_workers, found.max_workers, found.batch_size, found.max_batch_delay) == (3, 4, 5, 77)
    assert (found.response_timeout, found.startup_timeout) == (33, 44)


YAML = {
    "minWorkers": 1, "maxWorkers": 2, "batchSize": 8, "maxBatchDelay": 10, "responseTimeout": 60, "jobQueueSize": 9,
    "deviceType": "cpu", "handler": {"own": 1},
}  # fmt: skip


def test_the_archive_goes_before_both() -> None:
    found = decide(YAML, OPERATOR)
    assert (found.min_workers, found.max_workers, found.batch_size, found.max_batch_delay) == (1, 2, 8, 10)
    assert (found.response_timeout, found.job_queue_size, found.device_type) == (60, 9, "cpu")


def test_a_file_that_says_nothing_of_times_means_the_default_ones() -> None:
    found = decide({"minWorkers": 1}, OPERATOR, Asked(response_timeout=5, startup_timeout=6))
    assert (found.response_timeout, found.startup_timeout) == (120, 120)
    assert (found.batch_size, found.max_batch_delay) == (5, 77)


def test_the_call_goes_before_the_archive_in_batches_alone() -> None:
    asked = Asked(batch_size=16, max_batch_delay=20, initial_workers=0, response_timeout=5, startup_timeout=6)
    found = decide(YAML, OPERATOR, asked)
    assert (found.batch_size, found.max_batch_delay) == (16, 20)
    # Such a file starts a worker, though the call wants none.
    assert (found.min_workers, found.response_timeout) == (1, 60)
    without = decide(None, NOBODY, asked)
    assert (without.min_workers, without.response_timeout, without.startup_timeout) == (0, 5, 6)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"minWorkers": 0, "maxWorkers": 3}, (2, 2)),
        ({"minWorkers": 4, "maxWorkers": 3}, (2, 2)),
        ({"minWorkers": 3}, (3, 3)),
        ({"maxWorkers": 3}, (2, 2)),
        ({"minWorkers": 1, "maxWorkers": 3}, (1, 3)),
    ],
)
def test_workers_of_the_archive(written: dict[str, Any], expected: tuple[int, int]) -> None:
    found = decide(written)
    assert (found.min_workers, found.max_workers) == expected


@pytest.mark.parametrize(
    ("gpus", "kind", "ids", "told"),
    [
        (2, "gpu", (0, 1), ""),
        (1, "gpu", (), "deviceIds is ignored: expected numbers of GPUs, of which there are 1, got [0, 1]"),
        (0, "cpu", (), "deviceType: gpu, and there is no GPU that the server can use: it is served on CPUs"),
    ],
)
def test_gpus_that_are_not_there(
    gpus: int, kind: str, ids: tuple[int, ...], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = decide({"deviceType": "gpu", "deviceIds": [0, 1]}, gpus=gpus)
    assert (found.device_type, found.device_ids) == (kind, ids)
    assert told in caplog.text
    assert bool(told) == bool(caplog.records)


def test_what_is_of_another_kind_is_told_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = decide({"batchSize": "8", "deviceIds": [0, "1"], "maxBatchDelay": True})
    assert (found.batch_size, found.max_batch_delay, found.device_ids) == (1, 100, ())
    assert [record.getMessage() for record in caplog.records] == [
        "model 'm': model-config.yaml: batchSize is ignored: expected a whole number of at least 1, got '8'",
        "model 'm': model-config.yaml: maxBatchDelay is ignored: expected a whole number of at least 0, got True",
        "model 'm': model-config.yaml: deviceIds is ignored: expected a list of whole numbers, got [0, '1']",
    ]
