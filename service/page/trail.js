// How many timesteps an image took while it was made harder: one bar an answer.

import { element } from "./dom.js";
import { isolated, timesteps } from "./numbers.js";

const KEPT = 48;

export class Trail {
  #root;
  #bars = element("ol", { className: "trail", ariaHidden: "true" });
  #words = element("p", { className: "hint" });
  #first;

  constructor(root) {
    this.#root = root;
    root.append(this.#bars, this.#words);
  }

  /** An image that nobody has changed yet. */
  begin(exit, label) {
    this.#first = { exit, label };
    this.#bars.replaceChildren();
    this.#words.textContent = "";
  }

  add(exit, all, label) {
    const bar = element("li", { className: label === this.#first.label ? "" : "other" });
    bar.style.height = `${(exit / all) * 100}%`;
    this.#bars.append(bar);
    if (this.#bars.children.length > KEPT) this.#bars.firstChild.remove();
    const { exit: was, label: before } = this.#first;
    const answer = label === before ? `still ${isolated(label)}` : `${isolated(label)} instead of ${isolated(before)}`;
    this.#words.textContent = `Now ${timesteps(exit)}, at first ${was}; ${answer}.`;
  }
}
