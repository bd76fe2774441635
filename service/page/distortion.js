// What makes an image harder, on its pixels: pure, and the same noise every time.

/** Sliders, in the order in which they are applied; each at rest at `rest`. */
export const DISTORTIONS = {
  rotation: { label: "Rotation", min: -180, max: 180, rest: 0, unit: "°" },
  blur: { label: "Blur", min: 0, max: 16, rest: 0, unit: "px" },
  contrast: { label: "Contrast", min: 0, max: 200, rest: 100, unit: "%" },
  noise: { label: "Noise", min: 0, max: 100, rest: 0, unit: "%" },
  jpeg: { label: "JPEG quality", min: 0, max: 100, rest: 100, unit: "%" },
};

export const atRest = () => Object.fromEntries(Object.entries(DISTORTIONS).map(([name, { rest }]) => [name, rest]));

/** Change RGBA pixels in place; rotation and JPEG are the canvas's own. */
export function distort({ data, width, height }, { blur, contrast, noise }) {
  if (blur) for (const stride of [4, 4 * width]) blurred(data, width, height, stride, blur);
  if (contrast !== 100) each(data, (value) => 128 + (value - 128) * (contrast / 100));
  if (noise) {
    const random = seeded(1);
    each(data, (value) => value + noise * 2.55 * (random() + random() + random() - 1.5));
  }
}

function each(data, change) {
  for (let k = 0; k < data.length; k += 1) if (k % 4 < 3) data[k] = change(data[k]); // clamped by the array
}

/** A box blur along one axis, run twice: nearly a Gaussian. */
function blurred(data, width, height, stride, radius) {
  const along = stride === 4 ? width : height;
  const lines = stride === 4 ? height : width;
  const between = stride === 4 ? 4 * width : 4;
  for (let pass = 0; pass < 2; pass += 1) {
    for (let line = 0; line < lines; line += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const start = line * between + channel;
        const before = Float32Array.from({ length: along }, (_, k) => data[start + k * stride]);
        for (let k = 0; k < along; k += 1) {
          let sum = 0;
          for (let d = -radius; d <= radius; d += 1) sum += before[Math.min(along - 1, Math.max(0, k + d))];
          data[start + k * stride] = sum / (2 * radius + 1);
        }
      }
    }
  }
}

/** Numbers 0…1 (mulberry32). */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
