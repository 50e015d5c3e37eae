"""JSON with tensors in it, read and written, large documents a millisecond at a time. It knows no protocol."""
