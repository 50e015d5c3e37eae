"""Which version of a model answers a request: releases, and what they do."""
