"""Models from a real S3 server, and what breaks on the way: the right files come, or a clear error; never half a model."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, ServingError, UnavailableError
from kserve_v2.repository.locations import object_store, transfer
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.repository.reading.scan import ModelEntry, scan
from tests.repository.locations.conftest import MakeLocations, Pack
from tests.repository.locations.s3_server import (
    Bucket,
    Fault,
    Proxy,
    corrupted,
    cut,
    forbidden,
    slow_down,
    truncated,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(object_store, "_PAUSES_S", (0.0, 0.0))


def put_model(bucket: Bucket, name: str = "m", weights: str = "weights") -> None:
    bucket.put(f"models/{name}/config.pbtxt", 'backend: "python"')
    bucket.put(f"models/{name}/1/model.py", "code")
    bucket.put(f"models/{name}/1/deep/weights.bin", weights)


def content(locations: Locations, name: str = "m") -> Mapping[str, str]:
    """What a scan would read: the files of a model."""
    entry = entry_of(locations, name)
    return {
        str(path.relative_to(entry.path)): path.read_text()
        for path in sorted(entry.path.rglob("*"))
        if path.is_file()
    }


def entry_of(locations: Locations, name: str = "m") -> ModelEntry:
    return scan(locations.roots).models[name]


def files_below(top: Path) -> list[str]:
    return [str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()]


WHOLE = {"config.pbtxt": 'backend: "python"', "1/model.py": "code", "1/deep/weights.bin": "weights"}


def test_a_model_comes_whole_and_only_when_it_is_asked_for(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations
) -> None:
    put_model(bucket, "m")
    put_model(bucket, "other")
    bucket.put("models/README.md")
    bucket.put("models-of-others/x/1/model.py")
    bucket.put("models/ensemble/1/", b"")
    locations = make_locations(f"{bucket.url}/models")
    assert locations.names() == ["ensemble", "m", "other"]
    assert proxy.read == []
    locations.materialize("m")
    assert content(locations) == WHOLE
    assert set(scan(locations.roots).models) == {"m"}
    # Without files in it, a version is there all the same.
    locations.materialize("ensemble")
    assert entry_of(locations, "ensemble").versions == (1,)


def test_only_what_has_changed_is_fetched_again(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations
) -> None:
    put_model(bucket)
    bucket.put("models/m/2/model.py", "newer code")
    locations = make_locations(f"{bucket.url}/models")
    locations.materialize("m")
    before = entry_of(locations)
    proxy.requests.clear()
    locations.materialize("m")
    assert proxy.read == []
    assert entry_of(locations) == before
    # The same size, and perhaps the same second.
    bucket.put("models/m/2/model.py", "other code")
    locations.materialize("m")
    assert proxy.read == [f"/{bucket.name}/models/m/2/model.py"]
    after = entry_of(locations)
    assert content(locations)["2/model.py"] == "other code"
    assert after.fingerprints.versions[1] == before.fingerprints.versions[1]
    assert after.fingerprints.versions[2] != before.fingerprints.versions[2]
    assert after.fingerprints.shared == before.fingerprints.shared
    # Whoever is loading the old one reads its files, and no mixture.
    assert before.path != after.path
    assert (before.path / "2" / "model.py").read_text() == "newer code"


def test_what_was_fetched_is_there_at_the_next_start(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations
) -> None:
    put_model(bucket)
    first = make_locations(f"{bucket.url}/models")
    first.materialize("m")
    before = entry_of(first)
    first.close()
    proxy.requests.clear()
    second = make_locations(f"{bucket.url}/models")
    second.materialize("m")
    assert proxy.read == []
    assert entry_of(second) == before


def test_what_is_gone_at_the_next_start_is_not_served(bucket: Bucket, make_locations: MakeLocations) -> None:
    put_model(bucket, "m")
    put_model(bucket, "other")
    first = make_locations(f"{bucket.url}/models")
    first.refresh()
    first.close()
    for key in ("config.pbtxt", "1/model.py", "1/deep/weights.bin"):
        bucket.delete(f"models/other/{key}")
    second = make_locations(f"{bucket.url}/models")
    second.materialize("m")
    assert set(scan(second.roots).models) == {"m"}
    second.refresh()
    assert set(scan(second.roots).models) == {"m"}


def test_what_a_killed_server_was_doing_is_no_model(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations, tmp_path: Path
) -> None:
    put_model(bucket)
    first = make_locations(f"{bucket.url}/models")
    first.materialize("m")
    [area] = [path for path in (tmp_path / "staging").iterdir() if path.is_dir()]
    first.close()
    # Half put together, half taken apart, half noted; and a tree that nothing shows.
    write = {"making/1234/m/1/model.py": "half", "trees/m/0123/m/1/model.py": "half", "partial/m/abc": "half"}
    for name, text in write.items():
        (area / name).parent.mkdir(parents=True, exist_ok=True)
        (area / name).write_text(text)
    (tmp_path / "staging" / "other_place-0123456789abcdef" / "trees").mkdir(parents=True)
    proxy.requests.clear()
    second = make_locations(f"{bucket.url}/models")
    second.refresh()
    assert content(second) == WHOLE
    assert proxy.read == []
    assert list((area / "making").iterdir()) == []
    # What no location names any more is gone, too.
    assert [path.name for path in (tmp_path / "staging").iterdir() if path.is_dir()] == [area.name]


def test_one_model_without_its_name_is_an_error(bucket: Bucket, make_locations: MakeLocations) -> None:
    bucket.put("flat/model.onnx")
    bucket.put("versions/1/model.py")
    for name in ("flat", "versions"):
        locations = make_locations(f"{bucket.url}/{name}")
        with pytest.raises(
            InvalidArgumentError, match="it is one model, not a folder of models: give --model-name"
        ):
            locations.names()
        locations.close()


def test_what_somebody_has_shortened_meanwhile_is_fetched_again(
    bucket: Bucket, make_locations: MakeLocations
) -> None:
    put_model(bucket)
    first = make_locations(f"{bucket.url}/models")
    first.materialize("m")
    (entry_of(first).path / "1" / "deep" / "weights.bin").write_text("")
    first.close()
    second = make_locations(f"{bucket.url}/models")
    second.materialize("m")
    assert content(second) == WHOLE


def test_models_that_are_gone_go_and_the_last_look_counts(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations
) -> None:
    put_model(bucket, "m")
    put_model(bucket, "other")
    locations = make_locations(f"{bucket.url}/models")
    locations.refresh()
    assert set(scan(locations.roots).models) == {"m", "other"}
    for key in ("config.pbtxt", "1/model.py", "1/deep/weights.bin"):
        bucket.delete(f"models/other/{key}")
    put_model(bucket, "third")
    locations.refresh()
    assert set(scan(locations.roots).models) == {"m", "third"}
    # That nobody answers, or that nothing is there at all, is no wish to unload everything.
    proxy.faults[f"LIST /{bucket.name}"] = [forbidden] * 100
    locations.refresh()
    assert set(scan(locations.roots).models) == {"m", "third"}
    proxy.reset()
    for name in ("m", "third"):
        for key in ("config.pbtxt", "1/model.py", "1/deep/weights.bin"):
            bucket.delete(f"models/{name}/{key}")
    locations.refresh()
    assert set(scan(locations.roots).models) == {"m", "third"}
    with pytest.raises(UnavailableError, match=r"^s3://.*/models: nothing is there$"):
        locations.names()


@pytest.mark.parametrize("fault", [cut, truncated, corrupted, slow_down], ids=lambda fault: fault.__name__)
def test_what_passes_ends_in_the_right_files(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations, fault: Fault
) -> None:
    put_model(bucket, weights="weights" * 1000)
    proxy.faults["weights.bin"] = [fault]
    locations = make_locations(f"{bucket.url}/models")
    locations.materialize("m")
    assert content(locations) == {**WHOLE, "1/deep/weights.bin": "weights" * 1000}
    assert len([path for path in proxy.read if path.endswith("weights.bin")]) > 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (truncated, "'1/deep/weights.bin' comes with another checksum"),
        (
            corrupted,
            "^'1/deep/weights.bin' comes with another checksum than the one which its store tells, 2 times$",
        ),
        (forbidden, "^it cannot be fetched: access is denied: see the server's credentials$"),
        (slow_down, "^it cannot be fetched: .*reduce your request rate"),
    ],
    ids=["truncated", "corrupted", "forbidden", "slow_down"],
)
def test_what_does_not_pass_is_an_error_and_no_half_model(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations, tmp_path: Path, fault: Fault, message: str
) -> None:
    put_model(bucket)
    proxy.faults["weights.bin"] = [fault] * 100
    locations = make_locations(f"{bucket.url}/models")
    if fault is truncated:
        # Half of what is left each time: it ends, with what is not the file.
        proxy.faults["weights.bin"] = [lambda status, body: (status, len(body), b"x" * len(body))] * 100
    with pytest.raises(UnavailableError, match=message):
        locations.materialize("m")
    assert dict(scan(locations.roots).models) == {}
    assert not list(tmp_path.glob("staging/*/trees/*/*"))
    # And the next try is as good as the first.
    proxy.reset()
    locations.materialize("m")
    assert content(locations) == WHOLE


def test_a_broken_update_leaves_what_was_there(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations
) -> None:
    put_model(bucket)
    locations = make_locations(f"{bucket.url}/models")
    locations.refresh()
    bucket.put("models/m/1/deep/weights.bin", "heavier")
    put_model(bucket, "new")
    proxy.faults["m/1/deep/weights.bin"] = [corrupted] * 100
    locations.refresh()
    assert content(locations) == WHOLE
    assert "checksum" in (locations.problem("m") or "")
    # One model's trouble is not another's.
    assert content(locations, "new") == WHOLE
    # What was in vain is not fetched at every look, but when somebody asks for it.
    proxy.reset()
    locations.refresh()
    assert proxy.read == []
    assert "checksum" in (locations.problem("m") or "")
    locations.materialize("m")
    assert content(locations)["1/deep/weights.bin"] == "heavier"
    assert locations.problem("m") is None


def test_what_has_come_is_not_fetched_twice(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CHUNK", 1000)
    weights = "".join(f"{number:09d}\n" for number in range(500))
    put_model(bucket, weights=weights)
    answers = 0

    def third_is_forbidden(status: int, body: bytes) -> tuple[int, int, bytes]:
        nonlocal answers
        answers += 1
        return forbidden(status, body) if answers == 3 else (status, len(body), body)

    proxy.faults["weights.bin"] = [third_is_forbidden] * 3
    first = make_locations(f"{bucket.url}/models")
    with pytest.raises(UnavailableError):
        first.materialize("m")
    first.close()
    ranges = [each for path, each in proxy.requests if path.endswith("weights.bin")]
    assert ranges == ["bytes=0-999", "bytes=1000-1999", "bytes=2000-2999"]
    proxy.reset()
    second = make_locations(f"{bucket.url}/models")
    second.materialize("m")
    assert content(second)["1/deep/weights.bin"] == weights
    assert [each for path, each in proxy.requests if path.endswith("weights.bin")] == [
        "bytes=2000-2999", "bytes=3000-3999", "bytes=4000-4999",
    ]  # fmt: skip


def test_two_states_of_a_model_are_not_mixed(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations
) -> None:
    put_model(bucket)
    changes = [("code 2", "weights 2")]

    def change(path: str) -> None:
        # While the first file is read, all others become new.
        if path.endswith(".py") and changes:
            code, weights = changes.pop()
            bucket.put("models/m/1/model.py", code)
            bucket.put("models/m/1/deep/weights.bin", weights)

    proxy.before = change
    locations = make_locations(f"{bucket.url}/models")
    locations.materialize("m")
    assert content(locations) == {**WHOLE, "1/model.py": "code 2", "1/deep/weights.bin": "weights 2"}


def test_a_model_that_never_rests_is_an_error(
    bucket: Bucket, proxy: Proxy, make_locations: MakeLocations
) -> None:
    put_model(bucket)

    def change(path: str) -> None:
        if path.endswith(".bin"):
            bucket.put("models/m/1/deep/weights.bin", os.urandom(8))
        if path.endswith(".py"):
            bucket.put("models/m/1/model.py", os.urandom(8))

    proxy.before = change
    locations = make_locations(f"{bucket.url}/models")
    with pytest.raises(UnavailableError, match=r"^it was changed while it was fetched, 3 times$"):
        locations.materialize("m")
    assert dict(scan(locations.roots).models) == {}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["1/../../../escaped"], "leads up with '..'"),
        (["1//etc/passwd"], "has an empty part"),
        (["1/a%5Cb"], "has a backslash"),
        (["1/a%01b"], "has control characters"),
        (["1/Model.py", "1/model.py"], "differ in their spelling alone"),
        (["1/a", "1/a/b"], "is that of a file and of a directory"),
        (["1/" + "x" * 300], "is too long"),
    ],
    ids=["up", "absolute", "backslash", "control character", "capitals", "file and directory", "long"],
)
def test_names_that_lead_elsewhere_are_refused(
    bucket: Bucket, make_locations: MakeLocations, tmp_path: Path, keys: list[str], message: str
) -> None:
    for key in keys:
        bucket.put(f"models/m/{key}", b"hostile")
    locations = make_locations(f"{bucket.url}/models")
    with pytest.raises(InvalidArgumentError, match=message):
        locations.materialize("m")
    assert dict(scan(locations.roots).models) == {}
    assert [path for path in files_below(tmp_path) if not path.endswith("kserve-v2-staging")] == []


def test_the_folder_has_a_limit_and_makes_room_first(bucket: Bucket, make_locations: MakeLocations) -> None:
    put_model(bucket, weights="w" * 1000)
    locations = make_locations(f"{bucket.url}/models", limit=4000)
    locations.materialize("m")
    # What has been replaced goes before its time if there is no room, what is in use does not.
    bucket.put("models/m/1/deep/weights.bin", "v" * 1500)
    first = entry_of(locations).path
    locations.materialize("m")
    assert first.exists()
    second = entry_of(locations).path
    bucket.put("models/m/1/deep/weights.bin", "u" * 1400)
    with pytest.raises(
        ResourceExhaustedError,
        match=r"no room in the staging folder: \d+ are missing \(--staging-size-limit 4000\)",
    ):
        locations.materialize("m", in_use=[first, second])
    assert second.exists()
    locations.materialize("m", in_use=[second])
    assert not first.exists()
    assert content(locations)["1/deep/weights.bin"] == "u" * 1400


def test_an_archive_that_is_unpacked_makes_room_first(
    bucket: Bucket, make_locations: MakeLocations, pack: Pack
) -> None:
    locations = make_locations(f"{bucket.url}/models", limit=350_000)
    for version in range(5):
        bucket.put("models/z.zip", pack.zip({"1/weights": f"{version}" * 100_000}))
        locations.materialize("z", () if version == 0 else [entry_of(locations, "z").path])
        assert content(locations, "z")["1/weights"][0] == str(version)


def test_an_error_says_nothing_of_places(bucket: Bucket, proxy: Proxy, make_locations: MakeLocations) -> None:
    put_model(bucket)
    proxy.faults["model.py"] = [slow_down] * 100
    locations = make_locations(f"{bucket.url}/models")
    with pytest.raises(ServingError) as caught:
        locations.materialize("m")
    assert bucket.name not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_an_archive_beside_models_is_one(bucket: Bucket, make_locations: MakeLocations, pack: Pack) -> None:
    bucket.put("models/z.zip", pack.zip({"config.pbtxt": "", "1/model.py": "zipped"}))
    bucket.put("models/t.tar.gz", pack.tar({"1/model.py": "packed"}))
    put_model(bucket)
    locations = make_locations(f"{bucket.url}/models")
    assert locations.names() == ["m", "t", "z"]
    locations.refresh()
    assert content(locations, "z") == {"config.pbtxt": "", "1/model.py": "zipped"}
    assert content(locations, "t") == {"1/model.py": "packed"}


def test_one_model_without_versions(bucket: Bucket, proxy: Proxy, make_locations: MakeLocations) -> None:
    bucket.put("one/model.py", "code")
    bucket.put("one/labels.txt", "a")
    locations = make_locations(f"{bucket.url}/one", model_name="mine")
    locations.materialize("mine")
    entry = entry_of(locations, "mine")
    assert entry.versions == (1,)
    assert (entry.path / "1" / "model.py").read_text() == "code"
    assert (entry.path / "labels.txt").read_text() == "a"
    proxy.requests.clear()
    bucket.put("one/labels.txt", "b")
    locations.materialize("mine")
    assert proxy.read == [f"/{bucket.name}/one/labels.txt"]
    entry = entry_of(locations, "mine")
    assert (entry.path / "1" / "labels.txt").read_text() == "b"
    assert (entry.path / "1" / "model.py").read_text() == "code"


def test_a_whole_repository_in_an_archive(bucket: Bucket, make_locations: MakeLocations, pack: Pack) -> None:
    bucket.put("all.zip", pack.zip({"a/1/model.py": "a", "b/1/model.py": "b"}))
    locations = make_locations(f"{bucket.url}/all.zip")
    locations.names()
    assert content(locations, "a") == {"1/model.py": "a"}
    before = entry_of(locations, "a")
    bucket.put("all.zip", pack.zip({"a/1/model.py": "a", "b/1/model.py": "c"}))
    locations.refresh()
    assert content(locations, "b") == {"1/model.py": "c"}
    # Another archive, but the same model.
    assert entry_of(locations, "a").fingerprints == before.fingerprints
