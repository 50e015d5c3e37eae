"""Reports: for the terminal, for people (HTML, Markdown), for `compare` (JSON), and a badge (SVG)."""
