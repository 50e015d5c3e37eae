"""For MkDocs: the documents of the repository's root are pages of the site, too, and links that leave the site lead
nowhere else than to text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add what lies outside of docs/."""
    others = [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("benchmarks/*.svg")]
    for path in others:
        source = path.relative_to(ROOT).as_posix()
        if files.get_file_from_path(source) is None:
            files.append(File.generated(config, source, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Links are written as the repository has them, where docs/ is a directory beside the others."""
    source = page.file.src_uri
    in_repository = source if (ROOT / source).is_file() else f"docs/{source}"

    def rewritten(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), target))
        if not (ROOT / path).exists():
            # Left as it is, for MkDocs to complain about.
            return match.group(0)
        on_site = path.removeprefix("docs/")
        if files.get_file_from_path(on_site) is None:
            # A file of the code: it is no part of the site.
            return f"`{path}`"
        relative = posixpath.relpath(on_site, posixpath.dirname(source) or ".")
        return f"{image}[{text}]({relative}{anchor or ''})"

    return _LINK.sub(rewritten, markdown)
