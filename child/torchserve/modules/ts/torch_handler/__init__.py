"""Handlers that need no file of their own, and those that others derive from."""

HANDLERS = (
    "base_handler",
    "image_classifier",
    "image_segmenter",
    "object_detector",
    "text_classifier",
)
"""What a manifest may name as its handler."""
