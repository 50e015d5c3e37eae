"""Drawings of digits as people make them with a pen: the sample of `digits_photo`, and what it is tested with.

The strokes were drawn by hand, and are written down as points on a square; a pen follows curves through them.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

from examples.digits import Report
from examples.sample_request import classified_output, image_tensor, sample_request

Page = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Stroke = tuple[tuple[float, float], ...]

SAMPLE_DIGIT = 7
SAMPLE_FILE = "seven.png"

STROKES: tuple[tuple[Stroke, ...], ...] = (
    (((0.5, 0.05), (0.25, 0.15), (0.15, 0.5), (0.27, 0.86), (0.5, 0.95), (0.74, 0.85), (0.85, 0.5), (0.75, 0.15),
      (0.52, 0.05)),),
    (((0.3, 0.25), (0.52, 0.05), (0.52, 0.5), (0.5, 0.95)),),
    (((0.2, 0.25), (0.35, 0.07), (0.62, 0.06), (0.78, 0.25), (0.65, 0.5), (0.4, 0.72), (0.18, 0.93)),
     ((0.18, 0.93), (0.5, 0.9), (0.85, 0.92))),
    (((0.2, 0.15), (0.45, 0.05), (0.72, 0.15), (0.7, 0.36), (0.45, 0.47)),
     ((0.45, 0.47), (0.75, 0.55), (0.8, 0.78), (0.55, 0.95), (0.2, 0.87))),
    (((0.62, 0.05), (0.4, 0.35), (0.15, 0.62)), ((0.15, 0.62), (0.5, 0.63), (0.9, 0.6)),
     ((0.66, 0.35), (0.65, 0.65), (0.63, 0.95))),
    (((0.8, 0.07), (0.5, 0.06), (0.28, 0.08)), ((0.28, 0.08), (0.26, 0.28), (0.22, 0.46)),
     ((0.22, 0.46), (0.5, 0.4), (0.78, 0.55), (0.76, 0.82), (0.5, 0.95), (0.2, 0.88))),
    (((0.7, 0.06), (0.42, 0.22), (0.24, 0.55), (0.26, 0.85), (0.5, 0.95), (0.74, 0.82), (0.72, 0.6), (0.48, 0.52),
      (0.27, 0.65)),),
    (((0.15, 0.1), (0.5, 0.09), (0.85, 0.08)), ((0.85, 0.08), (0.62, 0.42), (0.45, 0.7), (0.38, 0.95))),
    (((0.72, 0.18), (0.5, 0.05), (0.28, 0.16), (0.33, 0.36), (0.55, 0.5), (0.76, 0.7), (0.66, 0.92), (0.4, 0.94),
      (0.24, 0.76), (0.42, 0.53), (0.66, 0.36), (0.72, 0.18)),),
    (((0.74, 0.22), (0.5, 0.06), (0.26, 0.2), (0.3, 0.42), (0.52, 0.48), (0.74, 0.3)),
     ((0.75, 0.18), (0.73, 0.5), (0.66, 0.75), (0.55, 0.95))),
)  # fmt: skip
"""The strokes of 0 to 9: points (x, y) from 0 to 1, y downwards."""

# A page is drawn larger, so that its lines have smooth edges.
_SCALE = 4
_POINTS_PER_CURVE = 40


@dataclass(frozen=True)
class Hand:
    """How somebody draws. `pen`: its width in pixels; `slant`: how far the top leans to the right, in widths of the
    digit; `width`: of the digit, of its height; `offset`: of its middle from the page's, in pixels. `seed`: decides how
    far the hand goes astray. `ink`, `paper`: grey values; the paper is not equally light everywhere.
    """

    pen: float = 12
    slant: float = 0.1
    width: float = 0.65
    offset: tuple[int, int] = (0, 0)
    astray: float = 0.02
    seed: int = 0
    ink: int = 40
    paper: int = 235


def draw(digit: int, hand: Hand, page: tuple[int, int] = (320, 240)) -> Page:
    """A grey page [height, width] with a digit on it. `page`: its width and height."""
    width, height = page
    tall = 0.62 * height
    wide = tall * hand.width
    left, top = width / 2 - wide / 2 + hand.offset[0], height / 2 - tall / 2 + hand.offset[1]
    random = np.random.default_rng(hand.seed)
    large = PIL.Image.new("L", (width * _SCALE, height * _SCALE))
    pen = PIL.ImageDraw.Draw(large)
    for stroke in STROKES[digit]:
        points = np.array(stroke) + random.normal(0, hand.astray, (len(stroke), 2))
        for x, y in _curve(points):
            # Nobody presses equally hard all the time.
            radius = _SCALE * hand.pen / 2 * (1 + 0.12 * np.sin(7 * y + digit))
            across, down = _SCALE * (left + (x + hand.slant * (0.5 - y)) * wide), _SCALE * (top + y * tall)
            pen.ellipse((across - radius, down - radius, across + radius, down + radius), fill=255)
    lines = large.resize(page, PIL.Image.Resampling.LANCZOS).filter(PIL.ImageFilter.GaussianBlur(0.8))
    inked = np.asarray(lines, np.float64) / 255
    rows, columns = np.mgrid[0:height, 0:width]
    paper = hand.paper + 15 * (columns / width - 0.5) + 9 * (rows / height - 0.5)
    grey: Page = (paper * (1 - inked) + hand.ink * inked).clip(0, 255).astype(np.uint8)
    return grey


def _curve(points: Points) -> Points:
    """Points on a smooth curve through some (a spline of Catmull and Rom)."""
    ends = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, _POINTS_PER_CURVE)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False)
    ]
    return np.vstack(pieces)


def png(page: Page) -> bytes:
    """A page as a file."""
    written = BytesIO()
    PIL.Image.fromarray(page).save(written, "PNG", optimize=True)
    return written.getvalue()


def make(_repository: Path, _report: Report) -> dict[str, bytes]:
    """The files of the model `digits_photo`, which has no weights of its own."""
    file = png(draw(SAMPLE_DIGIT, Hand()))
    outputs = ['{"name": "digit"}', classified_output("probabilities", 3)]
    return {SAMPLE_FILE: file, "sample_request.json": sample_request([image_tensor("image", file)], outputs)}
