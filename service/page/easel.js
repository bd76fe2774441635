// The image that is asked about: shown, made harder, rubbed out, and given away as a file.

import { DISTORTIONS, atRest, distort } from "./distortion.js";
import { element } from "./dom.js";

const SIDE = 192; // of the picture, and of what is sent once it has been changed
const GREY = "#808080";
const RUBBER = 14;
const CURSOR = 8; // what an arrow key moves

export class Easel {
  /** Called when the image has been changed by hand; and when it is as it came again. */
  changed = () => {};
  mended = () => {};
  #canvas;
  #original = null; // the file as it came
  #bitmap = null; // it, decoded; null where the browser cannot
  #settings = atRest();
  #rubbed = element("canvas", { width: SIDE, height: SIDE });
  #rubbing = false;
  #cursor = { x: SIDE / 2, y: SIDE / 2 };
  #sliders = [];

  /** @param controls holds sliders, eraser and the button that undoes all. */
  constructor(canvas, controls) {
    this.#canvas = canvas;
    this.#sliders = Object.entries(DISTORTIONS).map(([name, kind]) => this.#slider(name, kind));
    controls.querySelector("#distortions").append(...this.#sliders.map(({ root }) => root));
    const eraser = controls.querySelector("#eraser");
    const rub = (on) => {
      eraser.setAttribute("aria-pressed", on);
      controls.querySelector("#eraser-hint").hidden = !on;
      this.#rubs(on);
    };
    eraser.addEventListener("click", () => rub(!this.#rubbing));
    canvas.addEventListener("keydown", ({ key }) => key === "Escape" && rub(false));
    controls.querySelector("#mend").addEventListener("click", () => {
      this.#mend();
      this.mended();
    });
    this.#listen();
  }

  get unchanged() {
    const asItWas = ([name, value]) => value === DISTORTIONS[name].rest;
    return !this.#touched && Object.entries(this.#settings).every(asItWas);
  }

  /** Take another image. */
  async load(file) {
    this.#original = file;
    const bitmap = await createImageBitmap(file).catch(() => null);
    if (this.#original !== file) return; // there is a newer one
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.#mend();
    for (const { input } of this.#sliders) input.disabled = !this.#bitmap;
  }

  /** A picture that the browser could not decode, as the network was shown it. */
  stand(canvas) {
    if (this.#bitmap) return;
    const brush = this.#brush();
    brush.imageSmoothingEnabled = false;
    brush.drawImage(canvas, 0, 0, SIDE, SIDE);
  }

  /** As it came. */
  #mend() {
    this.#settings = atRest();
    this.#rubbed.width = SIDE; // empties it
    this.#touched = false;
    for (const { name, input, value } of this.#sliders) {
      input.value = DISTORTIONS[name].rest;
      value.textContent = `${input.value} ${DISTORTIONS[name].unit}`;
    }
    this.#draw();
  }

  #rubs(on) {
    this.#rubbing = on;
    if (on) this.#canvas.tabIndex = 0;
    else this.#canvas.removeAttribute("tabindex");
    this.#canvas.classList.toggle("rubbing", on);
    this.#draw();
  }

  /** The file to send: the one that came, as long as nobody has changed it. */
  async file() {
    if (this.unchanged) return this.#original;
    const { jpeg } = this.#settings;
    const compressed = jpeg < DISTORTIONS.jpeg.rest;
    this.#draw({ cursor: false });
    const file = await blob(this.#canvas, compressed ? "image/jpeg" : "image/png", jpeg / 100);
    if (compressed) {
      const seen = await createImageBitmap(file);
      this.#brush().drawImage(seen, 0, 0);
      seen.close();
    }
    return file;
  }

  /** A smaller copy of a file that is too large to send; null where it cannot be made. */
  async smaller(side) {
    if (!this.#bitmap) return null;
    const { width, height } = this.#bitmap;
    const scale = Math.min(1, side / Math.max(width, height));
    const canvas = element("canvas", { width: width * scale, height: height * scale });
    canvas.getContext("2d").drawImage(this.#bitmap, 0, 0, canvas.width, canvas.height);
    this.#original = await blob(canvas, "image/jpeg", 0.9);
    return this.#original;
  }

  #touched = false;

  #brush() {
    return this.#canvas.getContext("2d", { willReadFrequently: true });
  }

  /** The middle square, as networks with square inputs are shown it. */
  #draw({ cursor = true } = {}) {
    const brush = this.#brush();
    brush.clearRect(0, 0, SIDE, SIDE);
    if (!this.#bitmap) return;
    if (!this.unchanged) {
      brush.fillStyle = GREY; // behind the corners of a turned image
      brush.fillRect(0, 0, SIDE, SIDE);
    }
    const { width, height } = this.#bitmap;
    const side = Math.min(width, height);
    brush.imageSmoothingEnabled = side > 64;
    brush.imageSmoothingQuality = "high";
    brush.save();
    brush.translate(SIDE / 2, SIDE / 2);
    brush.rotate((this.#settings.rotation * Math.PI) / 180);
    brush.drawImage(this.#bitmap, (width - side) / 2, (height - side) / 2, side, side, -SIDE / 2, -SIDE / 2, SIDE, SIDE);
    brush.restore();
    const { blur, contrast, noise } = this.#settings;
    if (blur || noise || contrast !== 100) {
      const pixels = brush.getImageData(0, 0, SIDE, SIDE);
      distort(pixels, this.#settings);
      brush.putImageData(pixels, 0, 0);
    }
    brush.drawImage(this.#rubbed, 0, 0);
    if (cursor && this.#rubbing && this.#canvas === document.activeElement) {
      brush.strokeStyle = "#fff";
      brush.lineWidth = 2;
      brush.strokeRect(this.#cursor.x - RUBBER, this.#cursor.y - RUBBER, 2 * RUBBER, 2 * RUBBER);
    }
  }

  #slider(name, { label, min, max, rest, unit }) {
    // Named by itself: a <label> around both names the output.
    const input = element("input", { type: "range", min, max, value: rest, ariaLabel: label });
    const value = element("output", { textContent: `${rest} ${unit}` });
    input.addEventListener("input", () => {
      this.#settings[name] = Number(input.value);
      value.textContent = `${input.value} ${unit}`;
      this.#draw();
      this.changed();
    });
    return { name, input, value, root: element("label", {}, `${label} `, value, input) };
  }

  #rub({ x, y }) {
    const brush = this.#rubbed.getContext("2d");
    brush.fillStyle = GREY;
    brush.beginPath();
    brush.arc(x, y, RUBBER, 0, 2 * Math.PI);
    brush.fill();
    this.#touched = true;
    this.#draw();
    this.changed();
  }

  #listen() {
    const canvas = this.#canvas;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: ((event.clientX - box.left) / box.width) * SIDE, y: ((event.clientY - box.top) / box.height) * SIDE };
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.#rubbing || !this.#bitmap || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      this.#rub(at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.#rub(at(event));
    });
    canvas.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!this.#rubbing || !this.#bitmap || (!move && event.key !== " ")) return;
      event.preventDefault();
      if (!move) return this.#rub(this.#cursor);
      const inside = (value) => Math.min(SIDE, Math.max(0, value));
      this.#cursor = { x: inside(this.#cursor.x + move[0] * CURSOR), y: inside(this.#cursor.y + move[1] * CURSOR) };
      this.#draw();
    });
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.#draw());
  }
}

const blob = (canvas, type, quality) => new Promise((done) => { canvas.toBlob(done, type, quality); });
