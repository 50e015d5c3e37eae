"""Expectations: TorchServe's documentation of token authorization, and what 0.12 answers."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kserve_v2.torchserve_api.errors import TorchServeError
from kserve_v2.torchserve_api.routes import Api
from kserve_v2.torchserve_api.tokens import Tokens

START = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def read(path: Path) -> dict[str, str]:
    document = json.loads(path.read_text())
    return {kind: each["key"] for kind, each in document.items()}


def test_each_api_has_a_key_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    tokens = Tokens(path, 60, Clock())
    tokens.write()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert set(document) == {"inference", "management", "API"}
    assert document["inference"]["expiration time"] == "2026-11-28T13:00:00Z"
    keys = read(path)
    tokens.check(Api.INFERENCE, f"Bearer {keys['inference']}")
    tokens.check(Api.MANAGEMENT, f"Bearer {keys['management']}")
    tokens.check(Api.METRICS, "")
    wrong = [
        "",
        keys["inference"],
        f"Bearer {keys['management']}",
        "Bearer ",
        f"Bearer {keys['API']}",
        "Bearer é",
    ]
    for authorization in wrong:
        with pytest.raises(TorchServeError) as caught:
            tokens.check(Api.INFERENCE, authorization)
        assert (caught.value.code, caught.value.kind, caught.value.message) == (
            400,
            "InvalidKeyException",
            "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
        )
    tokens.remove()
    assert list(tmp_path.iterdir()) == []


def test_keys_expire_and_are_renewed(tmp_path: Path) -> None:
    path, clock = tmp_path / "key_file.json", Clock()
    tokens = Tokens(path, 60, clock)
    tokens.write()
    before = read(path)
    clock.now = START + timedelta(minutes=60)
    with pytest.raises(TorchServeError):
        tokens.check(Api.INFERENCE, f"Bearer {before['inference']}")
    for kind, authorization in (
        ("inference", f"Bearer {before['inference']}"),
        ("API", f"Bearer {before['API']}"),
        ("nosuch", f"Bearer {before['API']}"),
    ):
        with pytest.raises(TorchServeError) as caught:
            tokens.renew(kind, authorization)
        assert caught.value.message.startswith("Token Authentication failed. ")
    tokens.renew("inference", f"Bearer {before['API']}")
    after = read(path)
    assert after["inference"] != before["inference"]
    assert (after["API"], after["management"]) == (before["API"], before["management"])
    tokens.check(Api.INFERENCE, f"Bearer {after['inference']}")
