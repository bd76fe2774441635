// Time as columns: what the network was shown, what fired, what it thinks, a column a timestep.

import { element, own } from "./dom.js";
import { paintInput, paintSpikes, strongest } from "./maps.js";
import { energy, percent } from "./numbers.js";

const BARS = 5;
const LEAST = 0.005; // of a bar that can be seen
const MOST_COLUMNS = 64; // a network that runs longer has one, of the moment
const READ = 0.15; // shares of a column's time, in slow motion: until here it is shown the image,
const FIRE = 0.7; // until here layers fire one after the other, and then it thinks

export class Columns {
  #root;
  #columns = [];
  #made;
  #column; // the only one, of a long run
  #shown = NaN; // its timestep

  constructor(root) {
    this.#root = root;
  }

  /** Lay out a run: `steps` as the stream told them. */
  lay(steps) {
    const way = {
      classes: favourites(steps, BARS), most: strengths(steps), spikes: spikeColour(this.#root),
    };
    this.#made = (k) => new Column(steps[k], steps[k - 1]?.top_k ?? [], way);
    this.#shown = NaN;
    const short = steps.length <= MOST_COLUMNS;
    this.#columns = short ? steps.map((_, k) => this.#made(k)) : [];
    this.#root.style.setProperty("--columns", short ? steps.length : 1);
    this.#root.replaceChildren(...this.#columns.map((column) => column.root));
  }

  /** Show the moment `cursor` (2.5: in the middle of the third timestep) of a run that leaves
   * after `exit`: until then each timestep's own favourite stands out, then the one it left with. */
  show(cursor, exit, steps) {
    const winner = cursor >= exit ? steps[exit - 1].top_k[0].index : null;
    if (!this.#columns.length) this.#alone(Math.max(1, Math.ceil(Math.min(cursor, exit))), cursor, exit, winner);
    this.#columns.forEach((column, k) => {
      const t = k + 1;
      if (t > exit && cursor >= exit) {
        const saved = steps[k].energy_pj - steps[k - 1].energy_pj;
        column.ghost(Number.isFinite(saved) && steps[k].energy_pj !== null ? energy(saved) : "");
      } else {
        column.show(Math.min(1, Math.max(0, cursor - k)), t === exit, winner);
      }
    });
  }

  #alone(t, cursor, exit, winner) {
    if (t !== this.#shown) {
      this.#shown = t;
      this.#column = this.#made(t - 1);
      this.#root.replaceChildren(this.#column.root);
    }
    this.#column.show(Math.min(1, Math.max(0, cursor - t + 1)), t === exit, winner);
  }

  /** Bring a timestep into view. */
  reveal(t) {
    const column = this.#columns[t - 1]?.root;
    const scroller = this.#root.closest("#stage");
    if (!column || scroller.scrollWidth <= scroller.clientWidth) return;
    scroller.scrollLeft = column.offsetLeft + column.offsetWidth / 2 - scroller.clientWidth / 2;
  }
}

class Column {
  #state = element("span", { className: "state" });
  #shown = element("canvas", { className: "shown" });
  #layers = [];
  #bars = [];
  #saved = element("p", { className: "saved" });

  constructor(step, before, { classes, most, spikes }) {
    const parts = [element("h3", {}, `t = ${step.t} `, this.#state)];
    if (step.detail) {
      const { input, layers } = step.detail;
      paintInput(this.#shown, input);
      this.#shown.setAttribute("role", "img");
      this.#shown.setAttribute("aria-label", `what the network was shown at timestep ${step.t}`);
      this.#layers = layers.map((layer, k) => strip(layer, most[k], spikes));
      const fired = element("div", { className: "fired" }, ...this.#layers);
      parts.push(caption("shown"), this.#shown, caption("fired, layer by layer"), fired, caption("thinks"));
    } else {
      parts.push(element("p", { className: "hint", textContent: `${step.spikes} spikes so far` }));
    }
    this.#bars = classes.map((kind) => new Bar(kind, place(step.top_k, kind), place(before, kind)));
    const bars = this.#bars.map((bar) => bar.root);
    parts.push(element("ol", { className: "thinks" }, ...bars), this.#saved);
    this.root = element("li", { className: "column" }, ...parts);
  }

  /** `progress` 0…1 of this timestep. */
  show(progress, leaves, winner) {
    const state = progress === 0 ? "future" : progress < 1 ? "now" : leaves ? "leaves" : "done";
    this.root.className = `column ${state}`;
    this.root.toggleAttribute("aria-current", state === "now");
    this.#state.textContent = state === "leaves" ? "stops" : "";
    this.#saved.textContent = "";
    this.#shown.classList.toggle("dark", progress === 0);
    const firing = ((progress - READ) / (FIRE - READ)) * this.#layers.length;
    this.#layers.forEach((layer, k) => layer.classList.toggle("dark", !(firing > k)));
    const thought = Math.min(1, Math.max(0, (progress - FIRE) / (1 - FIRE)));
    for (const bar of this.#bars) bar.show(thought, winner === null ? bar.now.rank === 0 : bar.index === winner);
  }

  ghost(saved) {
    this.show(1, false, -1);
    this.root.className = "column ghost";
    this.#state.textContent = "";
    this.#saved.textContent = saved ? `not computed, saved ${saved}` : "not computed";
  }
}

/** A class's probability, on its way from the timestep before. */
class Bar {
  #line = element("span", { className: "bar" });
  #value = element("span", { className: "value" });

  constructor(kind, now, before) {
    this.index = kind.index;
    this.now = now;
    this.before = before;
    this.root = element("li", {}, own(kind.label), this.#value, this.#line);
    this.root.title = kind.label;
  }

  show(progress, wins) {
    const mixed = (from, to) => from + progress * (to - from);
    const probability = mixed(this.before.probability, this.now.probability);
    this.#line.style.width = `${probability < LEAST ? 0 : probability * 100}%`;
    this.#value.textContent = progress ? percent(probability) : "";
    this.root.style.setProperty("--rank", mixed(this.before.rank, this.now.rank));
    this.root.classList.toggle("wins", wins);
  }
}

const caption = (textContent) => element("p", { className: "caption", textContent });

function strip(layer, most, colour) {
  const canvas = element("canvas");
  paintSpikes(canvas, layer, most, colour);
  const [height, width] = layer.shape;
  const about = `${layer.name}: ${layer.spikes} spikes, ${layer.channels} channels, ${height}×${width}`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", about);
  canvas.title = about;
  return canvas;
}

/** The classes that were ever likeliest, at most `count`, in the order of the last timestep. */
function favourites(steps, count) {
  const best = new Map();
  for (const { top_k: ranked } of steps) {
    for (const kind of ranked) {
      if (!(best.get(kind.index)?.probability >= kind.probability)) best.set(kind.index, kind);
    }
  }
  return [...best.values()].sort((a, b) => b.probability - a.probability).slice(0, count);
}

/** Where a class stands among the likeliest; behind them where it is none of them. */
function place(ranked, { index }) {
  const rank = ranked.findIndex((kind) => kind.index === index);
  if (rank < 0 || rank >= BARS) return { rank: BARS, probability: ranked[rank]?.probability ?? 0 };
  return { rank, probability: ranked[rank].probability };
}

function strengths(steps) {
  const told = steps.filter((step) => step.detail).map((step) => step.detail.layers);
  return (told[0] ?? []).map((_, k) => Math.max(...told.map((layers) => strongest(layers[k]))));
}

function spikeColour(root) {
  const [, ...hex] = getComputedStyle(root).getPropertyValue("--spike").trim().match(/#(..)(..)(..)/);
  return hex.map((two) => parseInt(two, 16));
}
