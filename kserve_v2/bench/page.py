"""A report as one HTML file that loads nothing from anywhere: it can be sent, and kept."""

from collections.abc import Iterable, Sequence
from html import escape

from kserve_v2.bench import table
from kserve_v2.bench.charts import Chart, svg
from kserve_v2.bench.pictures import charts_of
from kserve_v2.bench.results import Report

_STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 48rem; width: 100%; height: auto; display: block; margin: 1rem 0; border-radius: 6px; }
li.warning { color: #a15c00; } li.error { color: #b3261e; }
@media (prefers-color-scheme: dark) { li.warning { color: #f0b35a; } li.error { color: #ff8a80; } }
"""


def page_of(report: Report) -> str:
    """The report of `kserve-v2 bench`."""
    head, rows = table.columns(report)
    servers = "".join(
        f"<li>{escape(f'{name}: ' if report.compares else '')}<code>{escape(url)}</code></li>"
        for name, url in report.servers.items()
    )
    facts = (
        f"<ul>{servers}</ul><p>{escape(report.request)}. {escape(report.made_at)}</p>",
        f'<div class="wide">{table_of(head, rows)}</div>',
        notes_of(table.notes(report)),
    )
    return document(f"{report.model}: bench", facts, charts_of(report))


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def notes_of(notes: Iterable[str]) -> str:
    """A list of what has to be known; nothing if there is nothing."""
    listed = "".join(f'<li class="{escape(note.partition(":")[0])}">{escape(note)}</li>' for note in notes)
    return f"<ul>{listed}</ul>" if listed else ""


def document(title: str, parts: Iterable[str], charts: Iterable[Chart]) -> str:
    """A page with what is given, and the charts below it."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>{escape(title)}</h1>",
            *parts,
            *map(svg, charts),
            "</main></body></html>\n",
        ]
    )
