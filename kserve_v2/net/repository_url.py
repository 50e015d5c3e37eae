"""Where a model repository is, if that is no local directory: a URL, as flags and environment variables have it."""

import difflib
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

SCHEMES = ("s3", "gs", "az", "as", "https", "http", "hf")
"""Those that are understood. `gcs` and `abfs` are other names of `gs` and `az`."""

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")
"""Endings of archives that are unpacked."""

_SYNONYMS = {"gcs": "gs", "abfs": "az", "abfss": "az"}
# A password in a URL, who asks a web server, which may be a token, or what stands behind the path: often a signature.
# In az://CONTAINER@ACCOUNT it is no secret.
_SECRETS = re.compile(r"(?<=//)[^/\s@]*:[^/\s@]*@|(?:(?<=^https://)|(?<=^http://))[^/\s@]*@|\?.*")


@dataclass(frozen=True, slots=True)
class RepositoryUrl:
    """A URL with one of SCHEMES. As a text it is without passwords and signatures."""

    scheme: str
    full: str

    @classmethod
    def parse(cls, text: str) -> "RepositoryUrl":
        """Read a URL. Raises ValueError, with what is wrong."""
        scheme, mark, rest = text.partition("://")
        scheme = _SYNONYMS.get(scheme.lower(), scheme.lower())
        if not mark or scheme not in SCHEMES:
            close = difflib.get_close_matches(scheme, SCHEMES, n=1)
            hint = f", did you mean {close[0]}://?" if close else ""
            raise ValueError(f"unknown scheme {scheme}://{hint}")
        if not rest.strip("/") or any(each.isspace() or not each.isprintable() for each in text):
            raise ValueError("nothing behind the scheme, or blanks in it")
        return cls(scheme, f"{scheme}://{rest.rstrip('/')}")

    def __str__(self) -> str:
        return _SECRETS.sub(lambda match: "?…" if match[0].startswith("?") else "", self.full)

    @property
    def path(self) -> str:
        """What stands behind the scheme."""
        return self.full.partition("://")[2]

    @property
    def file_name(self) -> str:
        """The last part of its path: that of an archive has its ending."""
        return unquote(urlsplit(self.full).path.rpartition("/")[2])


def is_archive(file_name: str) -> bool:
    """Whether a file is an archive that is unpacked, by its name."""
    return file_name.lower().endswith(ARCHIVES)
