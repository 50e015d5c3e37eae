"""Which environment suits a requirements.txt: the same for the same content, another for any other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kserve_v2.environments.requirements import find_requirements, logical_lines, read_requirements
from kserve_v2.errors import InvalidArgumentError


@pytest.fixture
def digest(tmp_path: Path) -> Callable[..., str]:
    """The digest of a requirements.txt with other files beside it."""
    made = 0

    def digest_of(**texts: str) -> str:
        nonlocal made
        made += 1
        directory = tmp_path / str(made)
        for name, text in texts.items():
            path = directory / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return read_requirements(directory / "requirements.txt").digest

    return digest_of


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"requirements_txt": "a==1"}, {"requirements_txt": "a==1"}, True),
        ({"requirements_txt": "a==1"}, {"requirements_txt": "a==2"}, False),
        ({"requirements_txt": "a==1"}, {"requirements_txt": "a==1", "other_txt": "b"}, True),
        *[
            ({"requirements_txt": line, "more_txt": "b==1"}, {"requirements_txt": line, "more_txt": "b==2"}, False)
            for line in ("-r more.txt", "-rmore.txt", "--requirement=more.txt", "--requirement more.txt", "-c more.txt",
                         "--constraint more.txt  # why", "-r \\\n more.txt", "-r 'more.txt'")
        ],
        ({"requirements_txt": "# -r more.txt", "more_txt": "1"}, {"requirements_txt": "# -r more.txt", "more_txt": "2"}, True),
        (
            {"requirements_txt": "-r in/a.txt", "in__a_txt": "-r b.txt", "in__b_txt": "1"},
            {"requirements_txt": "-r in/a.txt", "in__a_txt": "-r b.txt", "in__b_txt": "2"},
            False,
        ),
        *[
            ({"requirements_txt": line, "in__a_whl": "1"}, {"requirements_txt": line, "in__a_whl": "2"}, False)
            for line in ("in/a.whl", "./in/a.whl", "a @ file:in/a.whl", "in/a.whl[extra]")
        ],
        # Of directories only sizes and times count.
        *[
            ({"requirements_txt": line, "in__a_whl": "1"}, {"requirements_txt": line, "in__a_whl": "22"}, False)
            for line in ("--find-links=./in\na", "-e ./in", "-f ./in/")
        ],
        ({"requirements_txt": "./in", "in__build__x_o": "1"}, {"requirements_txt": "./in", "in__build__x_o": "22"}, True),
    ],
)  # fmt: skip
def test_the_digest_is_of_the_content(
    digest: Callable[..., str], first: dict[str, str], second: dict[str, str], same: bool
) -> None:
    assert (digest(**first) == digest(**second)) is same


def test_files_that_name_each_other_are_read_once(digest: Callable[..., str]) -> None:
    assert digest(requirements_txt="-r more.txt", more_txt="-r requirements.txt\na")


@pytest.mark.parametrize(
    ("text", "empty"),
    [("", True), ("# nothing\n\n", True), ("--index-url https://x", True), ("a", False), ("-e .", False)],
)
def test_whether_anything_is_asked_for(tmp_path: Path, text: str, empty: bool) -> None:
    (tmp_path / "requirements.txt").write_text(text)
    assert read_requirements(tmp_path / "requirements.txt").empty is empty


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "-r nosuch.txt",
            "requirements.txt names nosuch.txt, which cannot be read: No such file or directory",
        ),
        ("-c directory", "requirements.txt names directory, which cannot be read: Is a directory"),
        ("a \udcff", "requirements.txt cannot be read: it is neither UTF-8 nor UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "requirements.txt").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidArgumentError) as raised:
        read_requirements(tmp_path / "requirements.txt")
    assert raised.value.message == error


def test_that_of_the_version_is_preferred(tmp_path: Path) -> None:
    version = tmp_path / "1"
    version.mkdir()
    assert find_requirements(version, tmp_path) is None
    (tmp_path / "requirements.txt").touch()
    assert find_requirements(version, tmp_path) == tmp_path / "requirements.txt"
    (version / "requirements.txt").touch()
    assert find_requirements(version, tmp_path) == version / "requirements.txt"


def test_lines_are_as_pip_reads_them() -> None:
    text = "a==1 # one\n# none\nb \\\n  ==2\nc @ https://x/y#egg=c\n\n"
    assert list(logical_lines(text)) == ["a==1", "b   ==2", "c @ https://x/y#egg=c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_other_programs_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "requirements.txt").write_bytes("-r nosuch.txt\r\n".encode(encoding))
    with pytest.raises(
        InvalidArgumentError, match=r"^requirements\.txt names nosuch\.txt, which cannot be read"
    ):
        read_requirements(tmp_path / "requirements.txt")
