// Images to begin with, and what became of each.

import { element } from "./dom.js";
import { timesteps } from "./numbers.js";
import { fetched } from "./service.js";

const FOLDER = "page/examples/";
const NETWORK = "early-exit-vgg8-cifar10"; // that they were chosen for

export class Examples {
  /** Called with the example that was chosen. */
  chosen = () => {};
  #root;
  #buttons = new Map();

  constructor(root) {
    this.#root = root;
  }

  async load() {
    const listed = await (await fetched(`${FOLDER}examples.json`)).json();
    this.all = listed.map((example) => ({ ...example, name: example.file.split(".")[0] }));
    this.#root.replaceChildren(...this.all.map((example) => element("li", {}, this.#button(example))));
  }

  named(name) {
    return this.all.find((example) => example.name === name) ?? this.all[0];
  }

  async file({ file }) {
    return (await fetched(FOLDER + file)).blob();
  }

  mark(example) {
    for (const [name, { button }] of this.#buttons) button.setAttribute("aria-pressed", name === example?.name);
  }

  /** An answer: what it said after how many timesteps. */
  note(example, exit) {
    this.#buttons.get(example.name).badge.textContent = timesteps(exit);
  }

  /** Another network: what it says is not known yet, but of the one that they were chosen for. */
  expect(network) {
    for (const { badge, about } of this.#buttons.values()) badge.textContent = network === NETWORK ? about : "";
  }

  #button(example) {
    const badge = element("span", { className: "badge" });
    const button = element(
      "button", { type: "button" },
      element("img", { src: FOLDER + example.file, alt: "", width: 64, height: 64 }),
      element("span", { textContent: example.title }),
      badge,
    );
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => this.chosen(example));
    this.#buttons.set(example.name, { button, badge, about: example.about });
    return button;
  }
}
