"""Model files that come with a load call: which names they may have, and where they lie while they are served."""
