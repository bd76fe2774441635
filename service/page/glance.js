// The service at a glance, from /v1/status: rates between two looks, ten minutes of them.

import { element, shape } from "./dom.js";
import { duration, short } from "./numbers.js";

const EVERY_MS = 2000;
const KEPT = 300; // ten minutes
const WINDOW = 6; // looks, which numbers are averages over: ten seconds
const SINCE = "last ten seconds, this page's requests among them; lines: since it was opened, up to ten minutes";
const SPARK = { width: 120, height: 28 };

/** What is shown: a name, what it is made of, how it is written. */
const TILES = [
  ["Average timesteps", (now) => now.timesteps / now.inferences, short],
  ["Answers a second", (now) => now.answered / now.seconds, short],
  ["Half are answered within", (now) => quantile(now.latency, 0.5), duration],
  ["99 of 100 within", (now) => quantile(now.latency, 0.99), duration],
  ["Waiting", (now) => now.queued, short],
  ["Power of the chip, estimated", (now) => now.joules / now.seconds, (watts) => `${short(watts * 1e6)} µW`],
  ["Refused a second", (now) => now.refused / now.seconds, short],
  ["Left before the answer", (now) => now.cancelled, short],
];

export class Glance {
  /** Called when the service answers after it had not. */
  returned = () => {};
  #service;
  #root;
  #exits;
  #title;
  #looks = [];
  #gone = false;
  #history = TILES.map(() => []);
  #sparks = [];
  #values = [];

  constructor(service, { root, exits, title }) {
    this.#service = service;
    this.#root = root;
    this.#title = title;
    title.textContent = SINCE;
    this.#exits = exits;
    for (const [name] of TILES) {
      const value = element("span", { className: "number", textContent: "–" });
      const spark = shape("svg", { ...SPARK, viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, "aria-hidden": "true" });
      this.#values.push(value);
      this.#sparks.push(spark);
      root.append(element("div", {}, element("dt", { textContent: name }), element("dd", {}, value, spark)));
    }
  }

  /** Look every other second, as long as the page can be seen. */
  async watch() {
    for (;;) {
      if (!document.hidden) await this.#look().catch(console.error);
      await new Promise((done) => { setTimeout(done, EVERY_MS); });
    }
  }

  async #look() {
    let status;
    try {
      status = await this.#service.status();
    } catch {
      this.#gone = true;
      this.#looks = [];
      this.#title.textContent = "does not answer; this page looks again every two seconds";
      this.#root.classList.add("stale");
      return;
    }
    if (this.#gone) {
      this.#gone = false;
      this.#title.textContent = SINCE;
      this.#root.classList.remove("stale");
      this.returned();
    }
    this.#looks.push(status);
    if (this.#looks.length > WINDOW) this.#looks.shift();
    this.#drawExits(status);
    if (this.#looks.length === 1) return;
    const now = between(this.#looks[0], status);
    TILES.forEach(([, of, written], k) => {
      const value = of(now);
      const kept = this.#history[k];
      kept.push(value);
      if (kept.length > KEPT) kept.shift();
      this.#values[k].textContent = Number.isFinite(value) ? written(value) : "–";
      this.#sparks[k].replaceChildren(shape("path", { d: spark(kept) }));
    });
  }

  #drawExits({ models }) {
    this.#exits.replaceChildren(...models.map((model) => {
      const most = Math.max(1, ...model.exits);
      const bars = model.exits.map((count, k) => {
        const bar = element("span", { className: "bar" });
        bar.style.height = `${(count / most) * 100}%`;
        const t = model.exit_bounds[k];
        return element("li", { title: `${short(count)} images left after timestep ${t}` }, bar, element("span", { textContent: t }));
      });
      return element("figure", {},
        element("ol", { className: "histogram" }, ...bars),
        element("figcaption", { textContent: `${model.name}: the timestep that images left after, since it started (${short(model.inferences)})` }));
    }));
  }
}

/** What happened between two looks; gauges are the newer one's. */
function between(before, after) {
  const grown = (of) => Math.max(0, of(after) - of(before));
  const models = (name) => (status) => status.models.reduce((sum, model) => sum + model[name], 0);
  const all = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);
  return {
    seconds: after.time - before.time,
    timesteps: grown(models("timesteps_used")),
    inferences: grown(models("inferences")),
    answered: grown((status) => status.requests["200"] ?? 0),
    refused: grown((status) => all(status.refused)),
    cancelled: grown(models("cancelled")),
    joules: grown(models("energy_joules")),
    queued: models("queued")(after),
    latency: {
      bounds: after.latency_seconds.bounds,
      counts: after.latency_seconds.counts.map((count, k) => count - before.latency_seconds.counts[k]),
    },
  };
}

/** By cumulative counts, on the line within a bucket, as Prometheus has it. */
function quantile({ bounds, counts }, share) {
  const wanted = share * counts.at(-1);
  if (!wanted) return NaN;
  const k = counts.findIndex((count) => count >= wanted);
  if (k >= bounds.length) return bounds.at(-1);
  const [low, below] = k ? [bounds[k - 1], counts[k - 1]] : [0, 0];
  return low + ((wanted - below) / (counts[k] - below)) * (bounds[k] - low);
}

function spark(values) {
  const most = Math.max(...values.filter(Number.isFinite), 0);
  let pen = "M";
  return values.map((value, k) => {
    if (!Number.isFinite(value)) {
      pen = "M";
      return "";
    }
    const x = SPARK.width - (values.length - 1 - k) * (SPARK.width / (KEPT - 1));
    const y = SPARK.height - 2 - (most ? value / most : 0) * (SPARK.height - 4);
    const part = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
}
