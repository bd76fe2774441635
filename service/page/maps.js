// Pictures out of the service's base64 maps.

const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** What the network was shown: `{shape: [h, w, c], pixels}`, grey or RGB. */
export function paintInput(canvas, { shape: [height, width, channels], pixels }) {
  const values = bytes(pixels);
  const colour = channels >= 3 ? [0, 1, 2] : [0, 0, 0];
  paint(canvas, height, width, (place, rgba, at) => {
    colour.forEach((channel, k) => { rgba[at + k] = values[place * channels + channel]; });
    rgba[at + 3] = 255;
  });
}

/** Where neurons fired: `{shape: [h, w], map}`; `most` is what counts as full. */
export function paintSpikes(canvas, { shape: [height, width], map }, most, [red, green, blue]) {
  const values = bytes(map);
  paint(canvas, height, width, (place, rgba, at) => {
    rgba.set([red, green, blue, 255 * Math.min(1, values[place] / most) ** 0.6], at);
  });
}

/** The strongest place of a map, so that sparse layers can be seen. */
export const strongest = ({ map }) => bytes(map).reduce((most, value) => Math.max(most, value), 1);

function paint(canvas, height, width, pixel) {
  Object.assign(canvas, { height, width });
  const image = new ImageData(width, height);
  for (let place = 0; place < height * width; place += 1) pixel(place, image.data, place * 4);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
