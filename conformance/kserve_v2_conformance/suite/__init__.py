"""The cases, as pytest collects them."""
