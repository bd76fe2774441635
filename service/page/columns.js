// Time as columns: what the network was shown, what fired, what it thinks, a column a timestep.

import { element, own } from "./dom.js";
import { paintInput, paintSpikes, strongest } from "./maps.js";
import { energy, percent } from "./numbers.js";

const BARS = 5;
const LEAST = 0.005; // of a bar that can be seen
const MOST_COLUMNS = 64; // a network that runs longer has one, of the moment
const READ = 0.15; // of a timestep in slow motion: until here it looks,
const FIRE = 0.7; // until here layers fire in turn, then it thinks

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

  /** Those that are wider than their place can be reached, and moved, by keyboard. */
  reach() {
    const scroller = this.#root.closest("#stage");
    if (scroller.scrollWidth > scroller.clientWidth) scroller.tabIndex = 0;
    else scroller.removeAttribute("tabindex");
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
  #told = element("div", { className: "told" });

  constructor(step, before, { classes, most, spikes }) {
    const parts = [];
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
    const [now, then] = [step.top_k, before].map((ranked) => places(ranked, classes));
    this.#bars = classes.map((kind, k) => new Bar(kind, now[k], then[k]));
    const bars = this.#bars.map((bar) => bar.root);
    this.#told.append(...parts, element("ol", { className: "thinks" }, ...bars));
    const title = element("h3", {}, `t = ${step.t} `, this.#state);
    this.root = element("li", { className: "column" }, title, this.#told, this.#saved);
  }

  /** `progress` 0…1 of this timestep. */
  show(progress, leaves, winner) {
    const state = progress === 0 ? "future" : progress < 1 ? "now" : leaves ? "leaves" : "done";
    this.root.className = `column ${state}`;
    this.#told.ariaHidden = String(state === "future");
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
    this.#told.ariaHidden = "true";
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

/** How likely classes are at a timestep, 0 where that was not told, and where each stands among them. */
function places(ranked, classes) {
  const known = new Map(ranked.map(({ index, probability }) => [index, probability]));
  const likely = classes.map(({ index }) => known.get(index) ?? 0);
  const order = [...likely.keys()].sort((a, b) => likely[b] - likely[a]);
  return likely.map((probability, k) => ({ probability, rank: order.indexOf(k) }));
}

function strengths(steps) {
  const told = steps.filter((step) => step.detail).map((step) => step.detail.layers);
  return (told[0] ?? []).map((_, k) => Math.max(...told.map((layers) => strongest(layers[k]))));
}

function spikeColour(root) {
  const [, ...hex] = getComputedStyle(root).getPropertyValue("--spike").trim().match(/#(..)(..)(..)/);
  return hex.map((two) => parseInt(two, 16));
}
