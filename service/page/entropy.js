// Entropy over timesteps as a line, and the threshold as a handle on it.

import { shape } from "./dom.js";
import { fallen, risen } from "./exit.js";
import { short } from "./numbers.js";

const HEIGHT = 176;
const MARGIN = 14;
const TICKS = [0, 0.001, 0.01, 0.1, 0.5, 1];
const STEPS = { ArrowUp: 0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowLeft: -0.01, PageUp: 0.1, PageDown: -0.1 };

const y = (entropy) => HEIGHT - MARGIN - risen(entropy) * (HEIGHT - 2 * MARGIN);
const threshold = (top) => {
  const height = (HEIGHT - MARGIN - top) / (HEIGHT - 2 * MARGIN);
  return rounded(fallen(Math.min(1, Math.max(0, height))));
};
const rounded = (value) => Number(value.toPrecision(3));

export class EntropyPlot {
  /** Called with the threshold while it is dragged, and when it is let go. */
  moved = () => {};
  released = () => {};
  #root;
  #picture = shape("svg", { height: HEIGHT });
  #line = shape("g");
  #handle;
  #rule = shape("line", { class: "rule" });
  #label = shape("text", { class: "number", x: 34, y: 4 });
  #entropies = [];
  #threshold = 0;
  #cursor = 0;
  #exit = 0;

  constructor(root) {
    this.#root = root;
    this.#handle = shape(
      "g",
      {
        role: "slider", tabindex: 0, class: "handle", "aria-orientation": "vertical",
        "aria-label": "entropy threshold", "aria-valuemin": 0, "aria-valuemax": 1,
      },
      shape("rect", { class: "reach", x: 0, y: -22, height: 44, width: "100%" }),
      this.#rule,
      shape("rect", { class: "grip", x: 4, y: -12, width: 60, height: 24, rx: 12 }),
      this.#label,
    );
    this.#picture.append(this.#line, this.#handle);
    root.append(this.#picture);
    new ResizeObserver(() => this.#draw()).observe(root);
    this.#listen();
  }

  show({ entropies, threshold: given, cursor, exit }) {
    this.#entropies = entropies;
    this.#threshold = given;
    this.#cursor = cursor;
    this.#exit = exit;
    this.#draw();
  }

  #draw() {
    const width = this.#root.clientWidth;
    const x = (t) => ((t - 0.5) / this.#entropies.length) * width;
    const parts = TICKS.flatMap((tick) => [
      shape("line", { class: "tick", x1: 0, x2: width, y1: y(tick), y2: y(tick) }),
      shape("text", { class: "scale", x: width - 4, y: y(tick) - 3 }, String(tick)),
    ]);
    let before = null;
    this.#entropies.forEach((entropy, k) => {
      const t = k + 1;
      if (t > this.#cursor && this.#cursor < this.#exit) return;
      const at = { x: x(t), y: y(entropy) };
      const kind = t > this.#exit ? "skipped" : t === this.#exit ? "exit" : "";
      if (before) {
        parts.push(shape("line", { class: `path ${kind === "skipped" ? kind : ""}`, x1: before.x, y1: before.y, x2: at.x, y2: at.y }));
      }
      before = at;
      const dot = shape("circle", { class: `dot ${kind}`, cx: at.x, cy: at.y, r: kind === "exit" ? 6 : 4 });
      dot.append(shape("title", {}, `entropy ${short(entropy)} after timestep ${t}`));
      parts.push(dot);
    });
    this.#line.replaceChildren(...parts);
    this.#picture.setAttribute("width", width);
    this.#rule.setAttribute("x2", width);
    this.#handle.setAttribute("transform", `translate(0 ${y(this.#threshold)})`);
    this.#label.textContent = short(this.#threshold);
    this.#handle.setAttribute("aria-valuenow", this.#threshold);
    this.#handle.setAttribute("aria-valuetext", `${short(this.#threshold)}: leaves after timestep ${this.#exit}`);
  }

  #listen() {
    const to = (event) => threshold(event.clientY - this.#picture.getBoundingClientRect().top);
    this.#picture.addEventListener("pointerdown", (event) => {
      // A finger elsewhere wants to scroll the page.
      if (event.button || (event.pointerType === "touch" && !this.#handle.contains(event.target))) return;
      this.#picture.setPointerCapture(event.pointerId);
      this.#handle.focus({ preventScroll: true });
      this.moved(to(event));
    });
    this.#picture.addEventListener("pointermove", (event) => {
      if (this.#picture.hasPointerCapture(event.pointerId)) this.moved(to(event));
    });
    this.#picture.addEventListener("lostpointercapture", () => this.released());
    this.#handle.addEventListener("keydown", (event) => {
      const height = { Home: 0, End: 1 }[event.key] ?? risen(this.#threshold) + STEPS[event.key];
      if (Number.isNaN(height)) return;
      event.preventDefault();
      this.moved(rounded(fallen(Math.min(1, Math.max(0, height)))));
    });
    this.#handle.addEventListener("keyup", (event) => {
      if (event.key in STEPS || event.key === "Home" || event.key === "End") this.released();
    });
  }
}
