// FP16 and BF16, which JSON does not carry: to bytes and back, little-endian.

const view = new DataView(new ArrayBuffer(4));

function floatBits(value) {
  view.setFloat32(0, value);
  return view.getUint32(0);
}

// Rounds to the nearest, and of two to the even one.
const rounded = (bits, dropped) => {
  const half = 1 << (dropped - 1);
  const rest = bits & ((1 << dropped) - 1);
  const kept = bits >>> dropped;
  return rest > half || (rest === half && kept & 1) ? kept + 1 : kept;
};

function bf16Bits(value) {
  if (Number.isNaN(value)) return 0x7fc0;
  return rounded(floatBits(value), 16) & 0xffff;
}

function fp16Bits(value) {
  if (Number.isNaN(value)) return 0x7e00;
  const bits = floatBits(value);
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size >= 0x47800000) return sign | 0x7c00;
  // Normal: a carry of the rounding goes into the exponent, up to infinity.
  if (size >= 0x38800000) return sign | rounded(size - 0x38000000, 13);
  // Subnormal: in units of 2^-24.
  const units = Math.abs(value) * 2 ** 24;
  const low = Math.floor(units);
  const rest = units - low;
  return sign | (rest > 0.5 || (rest === 0.5 && low & 1) ? low + 1 : low);
}

function fp16Value(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * fraction * 2 ** -24;
}

function bf16Value(bits) {
  view.setUint32(0, bits << 16);
  return view.getFloat32(0);
}

const KINDS = { FP16: [fp16Bits, fp16Value], BF16: [bf16Bits, bf16Value] };

export function halvesToBytes(values, datatype) {
  const bytes = new Uint8Array(values.length * 2);
  const out = new DataView(bytes.buffer);
  values.forEach((value, index) => out.setUint16(index * 2, KINDS[datatype][0](Number(value)), true));
  return bytes;
}

export function bytesToHalves(bytes, datatype) {
  const input = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / 2 }, (_, index) => KINDS[datatype][1](input.getUint16(index * 2, true)));
}
