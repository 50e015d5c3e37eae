"""Writes docs/reference from the code: options, commands, fields of configurations, metrics, errors.

python tools/generate_reference.py [--check]
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.reference.pages import PAGES  # noqa: E402 - where the line above leads

DIRECTORY = ROOT / "docs" / "reference"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="exit 1 if what is there is stale")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path = DIRECTORY / f"{name}.md"
        text = page()
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(path.name)
        if not check:
            path.write_text(text)
    if check and stale:
        print(
            f"stale in docs/reference: {', '.join(stale)}; run `python tools/generate_reference.py`",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
