// Drawings as the models of drawn signs have learned them: of one size and one breadth of line, in the middle.

const SCALE = 256;
// What is smaller than that on the sheet is meant to be small.
const LEAST = 50;

// Of small pictures such as the digits of scikit-learn, which fill all rows, and of those of MNIST, which have a margin of
// four in twenty-eight. `width`, `height`: of the picture; `pen`: the breadth of a line.
const SMALL = { width: 0.7, height: 1, pen: 0.18 };
const MNIST = { width: 20 / 28, height: 20 / 28, pen: 0.1 };
const LARGE_SIDE = 20;

// A square plane of ink, 0 to 1, of strokes on the sheet.
export function inkOf(strokes, side) {
  const target = side < LARGE_SIDE ? SMALL : MNIST;
  const points = strokes.flat();
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  // Lines are as broad as they are long beyond their ends.
  const scale = Math.min((target.width - target.pen) / Math.max(right - left, 1), (target.height - target.pen) / Math.max(bottom - top, 1), (target.height - target.pen) / LEAST);
  const canvas = new OffscreenCanvas(SCALE, SCALE);
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, SCALE, SCALE);
  context.scale(SCALE, SCALE);
  context.translate(0.5, 0.5);
  context.strokeStyle = "white";
  context.lineWidth = target.pen;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y], index) => {
      const at = [(x - (left + right) / 2) * scale, (y - (top + bottom) / 2) * scale];
      if (index === 0) context.moveTo(...at);
      else context.lineTo(...at);
    });
    context.stroke();
  }
  const { data } = context.getImageData(0, 0, SCALE, SCALE);
  return { plane: Float32Array.from({ length: SCALE * SCALE }, (_, at) => data[at * 4] / 255), width: SCALE, height: SCALE };
}
