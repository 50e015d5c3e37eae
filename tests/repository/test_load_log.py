"""What the log says of loads that were refused again and again."""

import pytest

from kserve_v2.backend import ModelConfig
from kserve_v2.logs.sparing import Sparing
from kserve_v2.repository.lifecycle.load_log import log_no_room
from kserve_v2.repository.lifecycle.record import Record


def test_no_room_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [100.0]
    told = Sparing(lambda: now_s[0])
    record = Record(1, 1, "", ModelConfig(), failure="no room")
    for now_s[0] in (100.0, 100.1, 159.9, 160.0, 161.0, 220.0):
        log_no_room("m", record, told)
    assert [each.getMessage() for each in caplog.records] == [
        "not loaded: m version 1: no room",
        "not loaded: m version 1: no room (as 2 times before)",
        "not loaded: m version 1: no room (as 1 times before)",
    ]
