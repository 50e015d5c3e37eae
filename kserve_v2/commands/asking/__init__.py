"""What commands do that ask a running server; their modules may import anything."""
