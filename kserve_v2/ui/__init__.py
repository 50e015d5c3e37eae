"""The page at `/`: static files, and the few routes of its own beside the protocol's. See `static/panels.js`."""
