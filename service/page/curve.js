// What a threshold buys on average.

import { shape } from "./dom.js";
import { percent, short } from "./numbers.js";

const HEIGHT = 190;
const TICKS = [1, 1.1, 1.5, 2, 3, 4, 8, 16, 64, 256, 1024];
const BOX = { left: 46, right: 12, top: 14, bottom: 34 };

export class Curve {
  /** Called with the calibration's point that was chosen. */
  chosen = () => {};
  #root;
  #points = [];
  #threshold = 0;
  #picture = shape("svg", {
    height: HEIGHT, role: "slider", tabindex: 0, "aria-label": "point of the calibration curve",
  });

  constructor(root) {
    this.#root = root;
    root.append(this.#picture);
    new ResizeObserver(() => this.#draw()).observe(root);
    this.#picture.addEventListener("click", (event) => this.#choose(this.#nearest(event)));
    this.#picture.addEventListener("keydown", (event) => this.#key(event));
  }

  /** `points` of /calibration, by rising threshold. */
  lay(points) {
    this.#points = points;
    this.#root.hidden = !points.length;
    this.#draw();
  }

  show(threshold) {
    this.#threshold = threshold;
    this.#draw();
  }

  /** What to expect of a threshold: between two points, on their line. */
  expected(threshold) {
    const after = this.#points.findIndex((point) => point.entropy_threshold > threshold);
    if (after <= 0) return this.#points.at(after === 0 ? 0 : -1);
    const [low, high] = [this.#points[after - 1], this.#points[after]];
    const way = (threshold - low.entropy_threshold) / (high.entropy_threshold - low.entropy_threshold);
    const between = (name) => low[name] + way * (high[name] - low[name]);
    return { accuracy: between("accuracy"), average_timesteps: between("average_timesteps") };
  }

  #draw() {
    const points = this.#points;
    const width = this.#root.clientWidth;
    if (!points.length || !width) return;
    const averages = points.map((point) => point.average_timesteps);
    const [left, right] = spread(averages.map(along), 0.1);
    const [low, high] = spread(points.map((point) => point.accuracy), 0.005);
    const x = (value) => BOX.left + ((along(value) - left) / (right - left)) * (width - BOX.left - BOX.right);
    const y = (value) => HEIGHT - BOX.bottom - ((value - low) / (high - low)) * (HEIGHT - BOX.top - BOX.bottom);
    this.#at = (point) => [x(point.average_timesteps), y(point.accuracy)];
    const path = points.map((point) => this.#at(point).join(" ")).join("L");
    const now = this.expected(this.#threshold);
    const [cx, cy] = this.#at(now);
    const digits = high - low < 0.05 ? 1 : 0;
    this.#picture.replaceChildren(
      ...[low, high].flatMap((value) => [
        shape("line", { class: "tick", x1: BOX.left, x2: width - BOX.right, y1: y(value), y2: y(value) }),
        shape("text", { class: "scale", x: BOX.left - 6, y: y(value) + 4 }, percent(value, digits)),
      ]),
      ...TICKS.filter((tick) => tick >= Math.min(...averages) - 0.02 && tick <= Math.max(...averages)).map((tick) =>
        shape("text", { class: "scale middle", x: x(tick), y: HEIGHT - BOX.bottom + 16 }, String(tick))),
      shape("text", { class: "name middle", x: (BOX.left + width - BOX.right) / 2, y: HEIGHT - 4 }, "average timesteps"),
      shape("text", { class: "name", x: BOX.left, y: 10 }, "accuracy"),
      shape("path", { class: "path", d: `M${path}` }),
      ...points.map((point) => {
        const [px, py] = this.#at(point);
        const dot = shape("circle", { class: "dot", cx: px, cy: py, r: 3.5 });
        dot.append(shape("title", {}, named(point)));
        return dot;
      }),
      shape("circle", { class: "dot exit", cx, cy, r: 7 }),
    );
    const index = this.#index();
    this.#picture.setAttribute("width", width);
    this.#picture.setAttribute("aria-valuemin", 1);
    this.#picture.setAttribute("aria-valuemax", points.length);
    this.#picture.setAttribute("aria-valuenow", index + 1);
    this.#picture.setAttribute("aria-valuetext", named(points[index]));
  }

  #at = () => [0, 0];

  /** The point whose threshold is nearest to the one in use. */
  #index() {
    const far = this.#points.map((point) => Math.abs(point.entropy_threshold - this.#threshold));
    return far.indexOf(Math.min(...far));
  }

  #nearest(event) {
    const box = this.#picture.getBoundingClientRect();
    const far = this.#points.map((point) => {
      const [x, y] = this.#at(point);
      return Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y);
    });
    return far.indexOf(Math.min(...far));
  }

  #choose(index) {
    if (this.#points[index]) this.chosen(this.#points[index]);
  }

  #key(event) {
    const last = this.#points.length - 1;
    const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
    const index = { Home: 0, End: last }[event.key] ?? this.#index() + step;
    if (Number.isNaN(index)) return;
    event.preventDefault();
    this.#choose(Math.min(last, Math.max(0, index)));
  }
}

export const about = ({ accuracy, average_timesteps: average }) =>
  `${percent(accuracy, 1)} right, ${average.toFixed(2)} timesteps on average`;

const named = (point) => `${about(point)}, at threshold ${short(point.entropy_threshold)}`;

/** What of a difference may be chance: the standard error of an accuracy on so many images. */
export const chance = ({ accuracy }, images) =>
  `Its standard error is ${(100 * Math.sqrt((accuracy * (1 - accuracy)) / images)).toFixed(1)} points.`;

// Most thresholds differ in the first tenth of a timestep.
const along = (average) => Math.sqrt(average - 1);

function spread(values, least) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const more = Math.max(0, least - (high - low)) / 2;
  return [low - more, high + more];
}
