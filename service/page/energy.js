// Energy as bars that race: this image so far, its static run, the ordinary network's.

import { element } from "./dom.js";
import { energy, percent, timesteps } from "./numbers.js";

export class Race {
  #root;
  #bars;

  constructor(root) {
    this.#root = root;
  }

  /** Lay out a run; `answer` is that of all timesteps, and may tell no energy. */
  lay(steps, answer) {
    this.#bars = null;
    if (!answer.energy || steps.some((step) => step.energy_pj === null)) {
      this.#root.replaceChildren(element("p", { textContent: "There is no estimate for this image." }));
      return;
    }
    const last = steps.at(-1);
    const ann = answer.energy.ann_pj;
    const most = Math.max(ann, last.energy_interval_pj[1]);
    this.#bars = {
      used: new Bar("This image", most, "used"),
      full: new Bar(`All ${timesteps(steps.length)} (static)`, most, "full"),
      ann: new Bar(`ANN, same layers, ${answer.energy.ann_bits} bits`, most, "ann"),
    };
    this.#root.replaceChildren(...Object.values(this.#bars).map((bar) => bar.root));
    this.#bars.ann.show(ann);
  }

  show(cursor, exit, steps) {
    if (!this.#bars) return;
    const used = spent(steps, Math.min(cursor, exit));
    const full = spent(steps, cursor);
    this.#bars.used.show(used.pj, used.interval);
    this.#bars.full.show(full.pj, full.interval);
  }
}

/** The energy so far, evenly within a timestep. */
function spent(steps, cursor) {
  const whole = Math.floor(cursor);
  const none = { energy_pj: 0, energy_interval_pj: [0, 0] };
  const before = steps[whole - 1] ?? none;
  const after = steps[whole] ?? before;
  const between = (low, high) => low + (cursor - whole) * (high - low);
  const [low, high] = [0, 1].map((end) => between(before.energy_interval_pj[end], after.energy_interval_pj[end]));
  return { pj: between(before.energy_pj, after.energy_pj), interval: [low, high] };
}

class Bar {
  #line = element("span", { className: "bar" });
  #whisker = element("span", { className: "whisker" });
  #value = element("span", { className: "value" });

  constructor(name, most, kind) {
    this.most = most;
    const track = element("div", { className: "track" }, this.#line, this.#whisker);
    this.root = element("div", { className: `lane ${kind}` }, element("span", { textContent: name }), this.#value, track);
  }

  show(pj, interval) {
    const share = (value) => `${(value / this.most) * 100}%`;
    this.#line.style.width = share(pj);
    this.#value.textContent = energy(pj);
    this.#whisker.hidden = !interval;
    if (!interval) return;
    this.#whisker.style.left = share(interval[0]);
    this.#whisker.style.width = share(interval[1] - interval[0]);
    this.#value.textContent += ` (${interval.map((end) => energy(end)).join(" to ")})`;
  }
}

const LEAST = 0.001; // of a part that is named
const NAMES = {
  adc: "converters to digital (ADC)",
  crossbar: "crossbars",
  htree: "wires within tiles (H-tree)",
  lif: "neurons (LIF)",
  noc: "network between tiles",
};

/** The table of parts, shown on demand. */
export class Parts {
  #button;
  #table;

  constructor(button, table) {
    this.#button = button;
    this.#table = table;
    button.addEventListener("click", () => {
      const hidden = table.toggleAttribute("hidden");
      button.setAttribute("aria-expanded", !hidden);
    });
  }

  /** `energy` of an answer to energy=full. */
  lay(energy) {
    this.#button.disabled = !energy;
    if (energy) this.#table.tBodies[0].replaceChildren(...rows(energy.detail, energy.total_pj));
  }
}

/** The largest first. */
function rows(detail, total) {
  return Object.entries(detail.components_pj)
    .sort(([, a], [, b]) => b - a)
    .filter(([, pj]) => pj >= total * LEAST)
    .map(([name, pj]) => element(
      "tr", {},
      element("th", { scope: "row", textContent: NAMES[name] ?? name.replaceAll("_", " ") }),
      element("td", { textContent: energy(pj) }),
      element("td", { textContent: percent(pj / total, 1) }),
    ));
}
