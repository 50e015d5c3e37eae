"""Where models keep what outlives the server."""

import sys
from pathlib import Path

import pytest

from kserve_v2.repository.preparing.kept import kept_path, kept_root

HOME = Path("/home/somebody")


@pytest.mark.skipif(sys.platform == "win32", reason="paths are written as POSIX has them")
@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        (Path("/var/kept"), {"XDG_CACHE_HOME": "/cache"}, "/var/kept"),
        (None, {"XDG_CACHE_HOME": "/cache"}, "/cache/kserve-v2/models"),
        # https://specifications.freedesktop.org/basedir-spec: all paths must be absolute, others are to be ignored.
        (None, {"XDG_CACHE_HOME": "cache"}, "/home/somebody/.cache/kserve-v2/models"),
        (None, {"XDG_CACHE_HOME": ""}, "/home/somebody/.cache/kserve-v2/models"),
        (None, {}, "/home/somebody/.cache/kserve-v2/models"),
    ],
)
def test_the_root(
    monkeypatch: pytest.MonkeyPatch, given: Path | None, environ: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(Path, "home", lambda: HOME)
    assert kept_root(given, environ) == Path(expected)


def test_a_relative_directory_is_that_of_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert kept_root(Path("kept"), {}) == tmp_path / "kept"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert kept_root(None, {}) is None


@pytest.mark.parametrize(
    "name", ["digits", "..", ".", "a b", "modèle", "x" * 250, "a\nb", "-rf", "con:1", "\udcff"]
)
def test_no_name_leads_out_of_the_root(tmp_path: Path, name: str) -> None:
    path = kept_path(tmp_path, Path("/models") / name)
    assert path.parent == tmp_path
    assert path.name not in {".", ".."}
    path.mkdir()
    assert path.resolve().parent == tmp_path.resolve()
    assert list(tmp_path.iterdir()) == [path]


def test_models_of_other_repositories_and_of_like_names_have_others(tmp_path: Path) -> None:
    models = [Path("/a/digits"), Path("/b/digits"), Path("/a/a b"), Path("/a/a_b"), Path("/a/x") / ("y" * 80)]
    assert len({kept_path(tmp_path, model) for model in models}) == len(models)


def test_a_repository_has_one_place_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "models/digits").mkdir(parents=True)
    (tmp_path / "link").symlink_to("models")
    direct = kept_path(tmp_path, tmp_path / "models/digits")
    assert kept_path(tmp_path, tmp_path / "link/digits") == direct
    assert kept_path(tmp_path, tmp_path / "models/../models/digits") == direct
