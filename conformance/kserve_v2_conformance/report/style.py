"""The look of the HTML pages: no script that they cannot do without, nothing loaded from elsewhere."""

from html import escape

from kserve_v2_conformance.verdicts import Word

CSS = """
:root { color-scheme: light dark; --ink: #1d2430; --dim: #667085; --line: #e3e6ec; --page: #fbfcfd; --card: #fff;
  --pass: #16794c; --fail: #c0322b; --known: #8a5a00; --advised: #8a5a00; --none: #98a1b0; --code: #f4f6f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --dim: #98a1b0; --line: #2b3240; --page: #12161d;
  --card: #181d26; --pass: #4cc38a; --fail: #ff7b72; --known: #e2b04a; --advised: #e2b04a; --none: #667085; --code: #10141a; } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page) }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 80px }
.verdict { font-size: 20px; font-weight: 600; margin: 4px 0 } .finding, .says, li { overflow-wrap: anywhere }
.wide { overflow-x: auto } summary a { text-decoration: none } summary a:hover { text-decoration: underline }
details:target { outline: 2px solid var(--dim) } .says code { font-size: inherit }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 19px; margin: 36px 0 10px }
.dim, .dim a { color: var(--dim) } a { color: inherit }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line) }
th, td { padding: 7px 12px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600; font-size: 13px; color: var(--dim) } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.bar { display: flex; height: 8px; min-width: 120px; margin-top: 4px; border-radius: 5px; overflow: hidden; background: var(--line) }
.bar i { display: block } .pass { color: var(--pass) } .fail { color: var(--fail) } .known { color: var(--known) }
.advised { color: var(--advised) } .none { color: var(--none) }
i.pass { background: var(--pass) } i.fail { background: var(--fail) }
i.advised { background: var(--advised); opacity: .6 } i.none { background: none }
details { background: var(--card); border: 1px solid var(--line); border-bottom-width: 0; padding: 0 14px }
details:last-of-type { border-bottom-width: 1px }
summary { display: grid; grid-template-columns: 150px 92px 1fr 110px; gap: 12px; padding: 8px 0; cursor: pointer; list-style: none }
summary::-webkit-details-marker { display: none }
summary code { font-size: 13px } summary > :last-child { text-align: right; font-weight: 600; font-size: 13px }
.level { font-size: 12px; color: var(--dim); padding-top: 2px }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; padding: 10px; margin: 4px 0 10px; font-size: 12.5px;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 320px; overflow: auto }
.case { border-top: 1px dashed var(--line); padding: 10px 0 } .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px }
.pair > div { min-width: 0 } .label { font-size: 12px; color: var(--dim) }
nav button { font: inherit; font-size: 13px; padding: 4px 12px; margin: 0 6px 12px 0; border: 1px solid var(--line); border-radius: 14px;
  background: var(--card); color: inherit; cursor: pointer } nav button[aria-pressed=true] { border-color: var(--ink) }
@media (max-width: 720px) {
  main { padding: 20px 12px 60px } th, td { padding: 5px 6px } th { font-size: 12px }
  table { font-size: 13px } .spare { display: none }
  .bar { min-width: 60px } .pair { grid-template-columns: 1fr }
  summary { grid-template-columns: 1fr auto; gap: 2px 10px } .says { grid-row: 2; grid-column: 1 / -1 }
  summary > .level { text-align: right } summary > :last-child { grid-row: 3; grid-column: 1 / -1; text-align: left } }
"""

# Shows the clauses of one outcome, and opens the clause that a link names.
SCRIPT = """
const buttons = [...document.querySelectorAll('nav button')];
const show = value => {
  for (const button of buttons) button.ariaPressed = button.value === value;
  for (const clause of document.querySelectorAll('details'))
    clause.hidden = value !== 'all' && clause.dataset.outcome !== value;
  for (const part of document.querySelectorAll('section.part')) part.hidden = !part.querySelector('details:not([hidden])');
};
for (const button of buttons) button.onclick = () => show(button.value);
const reveal = () => {
  const clause = location.hash && document.getElementById(location.hash.slice(1));
  if (clause?.tagName === 'DETAILS') { if (clause.hidden) show('all'); clause.open = true; clause.scrollIntoView(); }
};
addEventListener('hashchange', reveal);
reveal();
"""

CLASSES = {
    "pass": "pass",
    "fail": "fail",
    "not as advised": "advised",
    "not covered": "none",
}
VERDICT_CLASSES = {Word.CONFORMS: "pass", Word.FAILS: "fail", Word.NOT_TESTED: "none"}


def page(title: str, body: str, script: str = "") -> str:
    """A whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n<body><main>\n{body}\n</main>"
        f"{f'<script>{script}</script>' if script else ''}</body></html>"
    )


def bar(counts: dict[str, int]) -> str:
    """How many of which outcome, as a bar."""
    total = sum(counts.values()) or 1
    parts = (
        f'<i class="{CLASSES[name]}" style="width:{100 * count / total:.2f}%" title="{count} {escape(name)}"></i>'
        for name, count in counts.items()
        if count
    )
    return f'<div class="bar">{"".join(parts)}</div>'
