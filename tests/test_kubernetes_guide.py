"""docs/guides/kubernetes.md: its manifest is valid, and what it says of flags and paths is true of this server."""

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kserve_v2.settings import flags
from kserve_v2.settings.settings import OPTIONS, Settings
from tests.conftest import StartServer, WriteModel
from tests.integration.handlers import versioned

GUIDE = (Path(__file__).resolve().parent.parent / "docs/guides/kubernetes.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    [manifest] = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    document = yaml.safe_load(manifest)
    assert (document["apiVersion"], document["kind"]) == ("apps/v1", "Deployment")
    spec = document["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    return dict(spec["template"]["spec"])


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    [only] = pod["containers"]
    return dict(only)


def settings_of(container: dict[str, Any]) -> Settings:
    assert container["command"] == ["kserve-v2", "serve"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    flags.add_flags(parser)
    given, unknown = parser.parse_known_args(container["args"])
    assert unknown == []
    settings, warnings = flags.resolve(vars(given), {})
    assert warnings == ()
    return settings


def test_the_arguments_are_the_servers(pod: dict[str, Any], container: dict[str, Any]) -> None:
    settings = settings_of(container)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {
        "http": settings.http_port, "grpc": settings.grpc_port, "metrics": settings.metrics_port,
    }  # fmt: skip
    addresses = {settings.http_address, settings.grpc_address, settings.metrics_address}
    assert addresses == {"0.0.0.0"}
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    [repository] = settings.model_repository
    assert mounts[str(repository)] in {each["name"] for each in pod["volumes"]}
    # With what the server takes to close, and for its own watchdog.
    assert pod["terminationGracePeriodSeconds"] >= settings.exit_delay_secs + settings.exit_timeout_secs + 5


@pytest.mark.slow
def test_the_probes_are_answered(
    container: dict[str, Any], start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    write_model(tmp_path, "one", versioned(1))
    arguments = [
        each for each in container["args"] if not re.match(r"--(model-repository|\w+-address)=", each)
    ]
    server = start_server(tmp_path, *(each for each in arguments if "exit-delay" not in each))
    probes = [container[each] for each in ("startupProbe", "readinessProbe", "livenessProbe")]
    for probe in probes:
        assert probe["httpGet"]["port"] == "http"
        assert server.get(probe["httpGet"]["path"]).status_code == 200
    assert probes[2]["httpGet"]["path"] != probes[1]["httpGet"]["path"]


def test_flags_that_are_named_exist_with_their_defaults() -> None:
    known = {option.flag: option for option in OPTIONS}
    named = set(re.findall(r"--[a-z][a-z-]+", GUIDE))
    assert named - set(known) == set()
    defaults = dict(re.findall(r"`(--[a-z-]+)`\s\((\d+)\)", GUIDE))
    assert len(defaults) >= 4
    for flag, value in defaults.items():
        assert known[flag].kind.show(known[flag].default) == value


def test_no_other_paths_are_named_than_those_of_the_probes() -> None:
    paths = set(re.findall(r"/v2/[\w/]+", GUIDE))
    assert paths == {"/v2/health/live", "/v2/health/ready"}
