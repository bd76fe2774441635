// The networks that are served, and the one that is asked.

import { element } from "./dom.js";

const UNKNOWN = { curve: [], images: 0, default_entropy_threshold: 0 };

export class Networks {
  /** Called with another network, its manifest and its calibration. */
  chosen = () => {};
  /** Called with what went wrong; the one before stays. */
  failed = () => {};
  #service;
  #select;
  #current = null;
  all = [];

  constructor(service, select) {
    this.#service = service;
    this.#select = select;
    select.addEventListener("change", () => this.choose(this.all[select.value]).catch((error) => {
      this.#select.value = this.all.indexOf(this.#current);
      this.failed(error);
    }));
  }

  /** Ask which there are; `wanted` (a name, or name:version) is chosen, or the default. */
  async load(wanted) {
    this.all = await this.#service.models();
    this.#select.replaceChildren(...this.all.map((network, k) =>
      element("option", { value: k, textContent: this.#title(network) })));
    this.#select.disabled = false;
    const named = ({ name, version }) => [name, `${name}:${version}`].includes(wanted);
    await this.choose(this.all.find(named) ?? this.all[0]);
  }

  async choose(network) {
    this.#select.value = this.all.indexOf(network);
    const [manifest, calibration] = await Promise.all([
      this.#service.manifest(network),
      network.default_entropy_threshold === null ? UNKNOWN : this.#service.calibration(network),
    ]);
    if (this.all[this.#select.value] !== network) return; // somebody has gone on
    this.#current = network;
    await this.chosen(network, manifest, calibration);
  }

  /** What the address calls a network; the default needs no name. */
  address(network) {
    return network === this.all[0] ? undefined : `${network.name}:${network.version}`;
  }

  /** What a request calls it. */
  asked = (network) => (network === this.all[0] ? {} : { model: network.name, version: network.version });

  #title({ name, version }) {
    const several = this.all.filter((other) => other.name === name).length > 1;
    return several ? `${name} (${version})` : name;
  }
}
