// Pictures as numbers and back.

import { sidesOf } from "./kinds.js";
import { FLOATS } from "./tensors.js";

export const RANGES = {
  "0 to 1": { low: 0, high: 1 },
  "0 to 255": { low: 0, high: 255 },
  "-1 to 1": { low: -1, high: 1 },
  "0 to 16": { low: 0, high: 16 },
  "ImageNet's mean and deviation": { low: 0, high: 1, mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] },
};

const INTEGERS = new Set(["UINT8", "INT8", "UINT16", "INT16", "INT32", "UINT32", "INT64", "UINT64"]);

// What a sample says of a model's pictures: the range of its values, and whether paper, which is what lies at the border, is
// its low or its high end. `pixels`: of one channel, `width` in a row.
export function conventions(datatype, sample, layout) {
  let range = FLOATS.has(datatype) ? "0 to 1" : "0 to 255";
  let paperIsLow = FLOATS.has(datatype);
  if (sample) {
    const values = sample.data.map(Number);
    const high = values.reduce((all, each) => Math.max(all, each), -Infinity);
    const low = values.reduce((all, each) => Math.min(all, each), Infinity);
    if (low < 0) range = low >= -1 && high <= 1 ? "-1 to 1" : RANGES_OF_COLOUR(layout);
    else if (high > 16) range = "0 to 255";
    else if (high > 1 && Number.isInteger(high)) range = "0 to 16";
    const [height, width] = sidesOf(sample, layout);
    const step = layout.order === "HWC" ? layout.channels : 1;
    const border = [];
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        if (row === 0 || column === 0 || row === height - 1 || column === width - 1) border.push(values[(row * width + column) * step]);
      }
    }
    const mean = border.reduce((all, each) => all + each, 0) / border.length;
    paperIsLow = mean - low <= high - mean;
  }
  return { range, paperIsLow };
}

const RANGES_OF_COLOUR = (layout) => (layout.channels === 3 ? "ImageNet's mean and deviation" : "-1 to 1");

// Scales a plane of numbers to another size: each new pixel is the mean of what it covers.
export function resample(plane, width, height, newWidth, newHeight) {
  const across = new Float32Array(newWidth * height);
  for (let row = 0; row < height; row += 1) spread(plane, row * width, 1, width, across, row * newWidth, 1, newWidth);
  const result = new Float32Array(newWidth * newHeight);
  for (let column = 0; column < newWidth; column += 1) spread(across, column, newWidth, height, result, column, newWidth, newHeight);
  return result;
}

function spread(from, start, step, size, to, newStart, newStep, newSize) {
  const scale = size / newSize;
  for (let index = 0; index < newSize; index += 1) {
    const begin = index * scale;
    const end = begin + scale;
    let sum = 0;
    for (let at = Math.floor(begin); at < Math.min(Math.ceil(end - 1e-9), size); at += 1) {
      sum += from[start + at * step] * (Math.min(end, at + 1) - Math.max(begin, at));
    }
    to[newStart + index * newStep] = sum / scale;
  }
}

// The planes of a picture, 0 to 1: one of brightness, or three or four of colours.
export function planes(picture, channels) {
  const { data, width, height } = picture;
  const count = width * height;
  if (channels === 1) {
    const grey = new Float32Array(count);
    for (let at = 0; at < count; at += 1) grey[at] = (0.299 * data[at * 4] + 0.587 * data[at * 4 + 1] + 0.114 * data[at * 4 + 2]) / 255;
    return [grey];
  }
  return Array.from({ length: channels }, (_, channel) => Float32Array.from({ length: count }, (__, at) => data[at * 4 + channel] / 255));
}

// The tensor of planes of brightness, 0 to 1.
export function toTensor(colours, width, height, layout, datatype, rangeName) {
  const range = RANGES[rangeName];
  const count = width * height;
  const data = new Array(count * colours.length);
  colours.forEach((plane, channel) => {
    for (let at = 0; at < count; at += 1) {
      let value = range.low + plane[at] * (range.high - range.low);
      if (range.mean) value = (value - range.mean[channel % 3]) / range.deviation[channel % 3];
      const index = layout.order === "HWC" ? at * colours.length + channel : channel * count + at;
      data[index] = INTEGERS.has(datatype) ? Math.round(value) : Number(value.toFixed(4));
    }
  });
  const sizes = { CHW: [colours.length, height, width], HWC: [height, width, colours.length], HW: [height, width] };
  return { shape: [...layout.lead, ...sizes[layout.order]], data };
}

// A picture of a tensor's values, from its lowest (black) to its highest; colours as they are, where it has three planes.
export function toPicture(data, width, height, channels, order, range = null) {
  const values = Float32Array.from(data, Number);
  let [low, high] = range ?? [Infinity, -Infinity];
  if (!range) for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  const picture = new ImageData(width, height);
  const count = width * height;
  const value = (at, channel) => values[order === "HWC" ? at * channels + channel : channel * count + at];
  for (let at = 0; at < count; at += 1) {
    for (let colour = 0; colour < 3; colour += 1) {
      const found = value(at, channels >= 3 ? colour : 0);
      picture.data[at * 4 + colour] = high > low ? ((found - low) / (high - low)) * 255 : 0;
    }
    picture.data[at * 4 + 3] = 255;
  }
  return picture;
}
