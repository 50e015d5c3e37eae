"""What the authors of handlers write with. `kserve_v2` offers all of it."""
